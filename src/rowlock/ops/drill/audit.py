"""The audit after a drill: what was acknowledged against what the databases hold."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import TypeVar

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.ops import doctor
from rowlock.ops.doctor import Finding
from rowlock.ops.drill import history
from rowlock.ops.drill.history import Posted
from rowlock.ops.drill.journal import Entry, Journal
from rowlock.ops.drill.statements import queries
from rowlock.projects.rules import STATUSES
from rowlock.service_orders.rules import DISTANCE
from rowlock.settings import Settings

Thing = TypeVar("Thing")
Happening = tuple[str, str, str]  # name, subject, deployment or ""
OPENING_BALANCE = Settings().benefits.opening_balance
URL_ASSIGNED = "project.url_assigned"
DIFFERENCES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the databases hold; ids, unless it says otherwise."""

    usernames: dict[str, int]
    negative: set[int]  # users
    orders: dict[int, tuple[int | None, str, int]]  # user, status, amount
    invoices: dict[int, tuple[str, int]]  # status, amount
    bookings: list[tuple[int, datetime, bool]]  # id, time, imported; by time
    deployments: dict[int, tuple[int, str]]  # project, status
    ledgers: dict[int, list[Posted]]  # by user, oldest first
    events: Counter[Happening]  # but for project.url_assigned
    assigned: Counter[str]  # projects that were given a URL
    request_ids: set[str]  # of the events

    @property
    def entries(self) -> Counter[tuple[str, int]]:
        """The entries of all ledgers, by reference and amount."""
        return Counter(
            (entry.reference, entry.amount)
            for ledger in self.ledgers.values()
            for entry, _ in ledger
        )


async def take(main: Database, events: Database) -> Snapshot:
    """Read everything."""
    async with main.connection() as connection:
        users = await queries.drill.list_users(connection)
        orders = await queries.drill.list_orders(connection)
        invoices = await queries.drill.list_invoices(connection)
        bookings = await queries.drill.list_service_orders(connection)
        deployments = await queries.drill.list_deployments(connection)
        entries = await queries.drill.list_entries(connection)
    async with events.connection() as connection:
        happened = await queries.drill_events.count_events(connection)
        request_ids = await queries.drill_events.list_request_ids(connection)
    return Snapshot(
        usernames={row["username"]: row["id"] for row in users},
        negative={row["id"] for row in users if row["balance"] < 0},
        orders={row["id"]: (row["user_id"], row["status"], row["amount"]) for row in orders},
        invoices={row["id"]: (row["status"], row["amount"]) for row in invoices},
        bookings=[(row["id"], row["starts_at"], row["imported"]) for row in bookings],
        deployments={row["id"]: (row["project_id"], row["status"]) for row in deployments},
        ledgers={
            user_id: [
                Posted(
                    Entry(row["id"], row["amount"], row["balance_after"], row["reference"]),
                    row["transaction"],
                )
                for row in rows
            ]
            for user_id, rows in groupby(entries, lambda row: row["user_id"])
        },
        events=Counter(
            {
                (row["name"], row["subject"] or "", row["deployment_id"] or ""): row["events"]
                for row in happened
                if row["name"] != URL_ASSIGNED
            }
        ),
        assigned=Counter(
            row["subject"] or ""
            for row in happened
            if row["name"] == URL_ASSIGNED
            for _ in range(row["events"])
        ),
        request_ids={row["request_id"] for row in request_ids},
    )


async def count_unfinished(main: Database) -> tuple[int, int, int]:
    """Return how many orders are pending, and how many events undelivered and refused."""
    async with main.connection() as connection:
        [orders] = await queries.drill.count_pending_orders(connection)
    backlog = await outbox.describe_backlog(main)
    return orders["pending"], backlog["backlog"], backlog["dead"]


def compare(before: Snapshot, after: Snapshot, journal: Journal) -> list[Finding]:
    """Compare what was there before, plus what was acknowledged, with what is there now."""
    new_orders = after.orders.keys() - before.orders.keys()
    paid = {id_ for id_, (status, _) in after.invoices.items() if status == "paid"}
    paid_before = {id_ for id_, (status, _) in before.invoices.items() if status == "paid"}
    bookings = {id_ for id_, _, _ in after.bookings} - {id_ for id_, _, _ in before.bookings}
    pending = {id_ for id_, (_, status, _) in after.orders.items() if status == "pending"}
    return [
        _finding("answers", journal.problems, "each write got one final answer, none was 5xx"),
        _equal("users", journal.usernames, after.usernames.keys() - before.usernames.keys()),
        _equal("orders", journal.orders | journal.benefit_orders, new_orders),
        _equal("invoices", journal.invoices, after.invoices.keys() - before.invoices.keys()),
        _equal("payments", journal.paid, paid - paid_before),
        _equal("bookings", journal.bookings - journal.deleted, bookings),
        _equal(
            "deployments",
            journal.deployments,
            after.deployments.keys() - before.deployments.keys(),
        ),
        _equal("deployment states", _states(journal), _stored_states(after, journal)),
        _finding("stuck orders", pending, "none"),
        _finding("negative balances", after.negative, "none"),
        _finding("bookings too close", _too_close(after), "none"),
        _counted("ledger entries", before.entries + _entries(after, journal), after.entries),
        _counted("events", before.events + _events(after, journal), after.events),
        _equal("request ids", journal.request_ids, after.request_ids - journal.repetitions),
        _counted(
            "projects given a URL", before.assigned + _assigned(after, journal), after.assigned
        ),
        _finding(
            "history",
            history.check(journal.operations, _stored(before, after)),
            f"{len(journal.operations)} operations fit one order of commits in real time",
        ),
    ]


async def examine(main: Database, urls: dict[str, str]) -> list[Finding]:
    """Return the findings of `rowlock doctor`: above all, whether the ledgers add up."""
    return [finding async for finding in doctor.examine(main, urls, Settings())]


def _stored(before: Snapshot, after: Snapshot) -> history.Stored:
    """Return what the clients' history is checked against."""
    documents = {
        "order": {id_: status for id_, (_, status, _) in after.orders.items()},
        "invoice": {id_: status for id_, (status, _) in after.invoices.items()},
    }
    return history.Stored(
        ledgers=after.ledgers,
        entries_before={user_id: len(ledger) for user_id, ledger in before.ledgers.items()},
        statuses={
            f"{kind}:{id_}": status
            for kind, statuses in documents.items()
            for id_, status in statuses.items()
        },
        usernames=after.usernames,
    )


def _entries(after: Snapshot, journal: Journal) -> Counter[tuple[str, int]]:
    """Return the ledger entries that the acknowledged writes must have left."""
    entries: Counter[tuple[str, int]] = Counter()
    for username in journal.usernames & after.usernames.keys():
        entries[f"user:{after.usernames[username]}", OPENING_BALANCE] += 1
    for order_id in (journal.orders | journal.benefit_orders) & after.orders.keys():
        user_id, status, amount = after.orders[order_id]
        if user_id is not None and status == "approved":
            entries[f"order:{order_id}", -amount] += 1
    for invoice_id in journal.paid & after.invoices.keys():
        entries[f"invoice:{invoice_id}", after.invoices[invoice_id][1]] += 1
    return entries


def _events(after: Snapshot, journal: Journal) -> Counter[Happening]:
    """Return the events that the acknowledged writes must have left."""
    happened = [
        *(("drill.posted", subject, "") for subject in journal.posted),
        *(
            ("user.created", f"user:{after.usernames[username]}", "")
            for username in journal.usernames & after.usernames.keys()
        ),
        *(("benefit_order.placed", f"order:{id_}", "") for id_ in journal.benefit_orders),
        *(("order.created", f"order:{id_}", "") for id_ in journal.orders),
        *(
            (f"order.{after.orders[id_][1]}", f"order:{id_}", "")
            for id_ in journal.orders & after.orders.keys()
        ),
        *(("invoice.created", f"invoice:{id_}", "") for id_ in journal.invoices),
        *(("invoice.paid", f"invoice:{id_}", "") for id_ in journal.paid),
        *(("service_order.created", f"service_order:{id_}", "") for id_ in journal.bookings),
        *(
            ("service_order.updated", f"service_order:{id_}", "")
            for id_ in journal.changes.elements()
        ),
        *(("service_order.deleted", f"service_order:{id_}", "") for id_ in journal.deleted),
    ]
    moves = journal.moves | {(id_, "created") for id_ in journal.deployments}
    for deployment_id, status in moves:
        if deployment_id in after.deployments:
            project_id, _ = after.deployments[deployment_id]
            happened.append((f"deployment.{status}", f"project:{project_id}", str(deployment_id)))
    return Counter(happened)


def _assigned(after: Snapshot, journal: Journal) -> Counter[str]:
    """Return the projects that a deployment has made live: the clients can't tell which."""
    live = {id_ for id_, status in journal.moves if status == "done"} & after.deployments.keys()
    return Counter({f"project:{after.deployments[id_][0]}" for id_ in live})


def _states(journal: Journal) -> set[tuple[int, str]]:
    """Return for each deployment the furthest of the states that were acknowledged."""
    states = dict.fromkeys(journal.deployments, "pending")
    for deployment_id, status in sorted(journal.moves, key=lambda move: STATUSES.index(move[1])):
        states[deployment_id] = status
    return set(states.items())


def _stored_states(after: Snapshot, journal: Journal) -> set[tuple[int, str]]:
    return {
        (id_, after.deployments[id_][1]) for id_ in journal.deployments & after.deployments.keys()
    }


def _too_close(after: Snapshot) -> Iterable[str]:
    for (one, at, imported), (other, next_at, next_imported) in pairwise(after.bookings):
        if next_at - at < DISTANCE and not (imported and next_imported):
            yield f"{one} and {other}"


def _equal(check: str, acknowledged: Iterable[object], stored: Iterable[object]) -> Finding:
    return _counted(check, Counter(acknowledged), Counter(stored))


def _counted(check: str, expected: Counter[Thing], found: Counter[Thing]) -> Finding:
    differences = [
        f"{thing}: {found[thing]} instead of {expected[thing]}"
        for thing in sorted(expected.keys() | found.keys(), key=str)
        if found[thing] != expected[thing]
    ]
    return _finding(check, differences, f"{found.total()}, each as acknowledged, once")


def _finding(check: str, problems: Iterable[object], note: str) -> Finding:
    listed = list(problems)
    if not listed:
        return Finding(check, None, note)
    shown = ", ".join(str(problem) for problem in listed[:DIFFERENCES_SHOWN])
    more = len(listed) - DIFFERENCES_SHOWN
    return Finding(check, f"{shown} and {more} more" if more > 0 else shown)
