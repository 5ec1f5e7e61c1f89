"""What the databases hold, before a drill and after it."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.ops.drill.journal import Entry, Names
from rowlock.ops.drill.statements import queries
from rowlock.ops.drill.versions import Posted, StoredRefund

Happening = tuple[str, str, str]  # name, subject, deployment or ""
URL_ASSIGNED = "project.url_assigned"
EPOCH_BEGUN = "cluster.epoch_begun"  # no client causes it, but the promotion of a standby


class StoredOrder(NamedTuple):
    """An order."""

    user_id: int | None
    status: str
    amount: int
    refunded: int = 0


class StoredInvoice(NamedTuple):
    """An invoice."""

    user_id: int
    status: str
    amount: int


class StoredTransfer(NamedTuple):
    """A transfer."""

    from_user_id: int
    to_user_id: int
    amount: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the databases hold, by id unless it says otherwise."""

    usernames: dict[str, int]
    balances: dict[int, int]  # by user
    orders: dict[int, StoredOrder]
    invoices: dict[int, StoredInvoice]
    bookings: list[tuple[int, datetime, bool]]  # id, time, imported; by time
    deployments: dict[int, tuple[int, str]]  # project, status
    ledgers: dict[int, list[Posted]]  # by user, oldest first
    events: Counter[Happening]  # but for project.url_assigned and cluster.epoch_begun
    assigned: Counter[str]  # projects that were given a URL
    request_ids: set[str]  # of the events
    refunds: dict[int, StoredRefund] = field(default_factory=dict)
    transfers: dict[int, StoredTransfer] = field(default_factory=dict)
    references: set[tuple[str, str]] = field(default_factory=set)  # kind:id, reference
    people: dict[int, Names] = field(default_factory=dict)
    # Products and services, by kind:id: the price, and whether it is retired.
    catalogue: dict[str, tuple[int | None, bool]] = field(default_factory=dict)

    @property
    def entries(self) -> Counter[tuple[int, str, int]]:
        """The entries of all ledgers, by user, reference and amount."""
        return Counter(
            (user_id, posted.entry.reference, posted.entry.amount)
            for user_id, ledger in self.ledgers.items()
            for posted in ledger
        )


async def take(main: Database, events: Database) -> Snapshot:
    """Read everything."""
    async with main.connection() as connection:
        users = await queries.drill.list_users(connection)
        orders = await queries.drill.list_orders(connection)
        invoices = await queries.drill.list_invoices(connection)
        refunds = await queries.drill.list_refunds(connection)
        transfers = await queries.drill.list_transfers(connection)
        products = await queries.drill.list_products(connection)
        services = await queries.drill.list_services(connection)
        bookings = await queries.drill.list_service_orders(connection)
        deployments = await queries.drill.list_deployments(connection)
        entries = await queries.drill.list_entries(connection)
    async with events.connection() as connection:
        happened = await queries.drill_events.count_events(connection)
        request_ids = await queries.drill_events.list_request_ids(connection)
    named = [
        *(("order", row["id"], row["reference"]) for row in orders),
        *(("invoice", row["id"], row["reference"]) for row in invoices),
        *(("refund", row["id"], row["reference"]) for row in refunds),
        *(("transfer", row["id"], row["reference"]) for row in transfers),
    ]
    return Snapshot(
        usernames={row["username"]: row["id"] for row in users},
        balances={row["id"]: row["balance"] for row in users},
        orders={
            row["id"]: StoredOrder(row["user_id"], row["status"], row["amount"], row["refunded"])
            for row in orders
        },
        invoices={
            row["id"]: StoredInvoice(row["user_id"], row["status"], row["amount"])
            for row in invoices
        },
        bookings=[(row["id"], row["starts_at"], row["imported"]) for row in bookings],
        deployments={row["id"]: (row["project_id"], row["status"]) for row in deployments},
        ledgers={
            user_id: [
                Posted(
                    Entry(row["id"], row["amount"], row["balance_after"], row["reference"]),
                    row["transaction"],
                    row["created_at"],
                )
                for row in rows
            ]
            for user_id, rows in groupby(entries, lambda row: row["user_id"])
        },
        events=Counter(
            {
                (row["name"], row["subject"] or "", row["deployment_id"] or ""): row["events"]
                for row in happened
                if row["name"] not in {URL_ASSIGNED, EPOCH_BEGUN}
            }
        ),
        assigned=Counter(
            row["subject"] or ""
            for row in happened
            if row["name"] == URL_ASSIGNED
            for _ in range(row["events"])
        ),
        request_ids={row["request_id"] for row in request_ids},
        refunds={
            row["id"]: StoredRefund(row["order_id"], row["amount"], row["transaction"])
            for row in refunds
        },
        transfers={
            row["id"]: StoredTransfer(row["from_user_id"], row["to_user_id"], row["amount"])
            for row in transfers
        },
        references={
            (f"{kind}:{id_}", reference) for kind, id_, reference in named if reference is not None
        },
        people={
            row["id"]: (row["username"], row["email"], row["first_name"], row["last_name"])
            for row in users
        },
        catalogue={
            **{f"product:{row['id']}": (row["price"], row["is_retired"]) for row in products},
            **{f"service:{row['id']}": (None, row["is_retired"]) for row in services},
        },
    )


async def count_unfinished(main: Database) -> tuple[int, int, int]:
    """Return how many orders are pending, and how many events undelivered and refused."""
    async with main.connection() as connection:
        [orders] = await queries.drill.count_pending_orders(connection)
    backlog = await outbox.describe_backlog(main)
    return orders["pending"], backlog["backlog"], backlog["dead"]
