"""What only the console reads."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rowlock.accounts.rules import Document, Person
from rowlock.engine import leases, outbox
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.subscriptions.rules import DELIVERY_STATUSES

if TYPE_CHECKING:
    from rowlock.engine.typed.console import FindEntriesRow, ListDeploymentsRow
    from rowlock.engine.typed.subscriptions import FindEventDeliveriesRow

COUNTED = 1000  # rows of a kind at most: more are "1000+"
NEWEST = 1000  # deliveries of a subscription and status that are looked through


class Attempts(NamedTuple):
    """How often settling an order has failed."""

    failures: int
    next_at: datetime | None  # None: at once, or never
    request_id: str | None  # that ordered


class Leader(NamedTuple):
    """The process that delivers events."""

    holder: str
    since: datetime


class Waiting(NamedTuple):
    """What waits in the main database. Ages are 0 if nothing waits."""

    orders: int
    orders_age_s: float
    outbox_events: int
    outbox_age_s: float
    dead_letters: int
    losses: int
    leader: Leader | None  # None: no process leads


class Dispatch(NamedTuple):
    """How the subscriptions fare."""

    active: int
    failing: int  # of those that are active
    disabled: int
    lag: int  # how many places the log is ahead of what they have been given


async def count_waiting(connection: Connection) -> Mapping[str, int]:
    """Count what waits in the main database, by the places that show it."""
    [row] = await queries.console.count_waiting(connection, counted=COUNTED)
    return {
        "orders": row["orders"],
        "deployments": row["deployments"],
        "dead_letters": row["dead_letters"],
    }


async def count_failing(connection: Connection) -> Mapping[str, int]:
    """Count the subscriptions that fail, by the place that shows them."""
    [row] = await queries.subscriptions.count_failing(connection)
    return {"deliveries": row["failing"]}


async def find_dispatched(connection: Connection) -> int:
    """Return up to which event the subscriptions have been given theirs."""
    [row] = await queries.subscriptions.find_cursor(connection)
    return row["position"]


async def measure_waiting(connection: Connection) -> Waiting:
    """Measure what waits in the main database, and find who delivers events."""
    [orders] = await queries.metrics.measure_commerce(
        connection, counted=COUNTED, floor=0, left_ids=[]
    )
    events = await outbox.measure_backlog(connection, COUNTED)
    leader = await leases.find_leader(connection, outbox.LEASE)
    return Waiting(
        orders["orders_pending"],
        orders["orders_age_s"],
        events["outbox_events"],
        events["outbox_age_s"],
        events["dead_letters"],
        events["losses"],
        Leader(leader["holder"], leader["since"]) if leader and leader["is_held"] else None,
    )


async def measure_dispatch(connection: Connection) -> Dispatch:
    """Measure how the subscriptions fare."""
    [row] = await queries.subscriptions.measure(connection, counted=COUNTED)
    return Dispatch(row["active"], row["failing"], row["disabled"], row["lag"])


async def find_person(connection: Connection, user_id: int) -> Person | None:
    """Return a user with names and address; None for an unknown one."""
    rows = await queries.console.find_person(connection, user_id=user_id)
    for row in rows:
        return Person(
            row["id"],
            row["username"],
            row["email"],
            row["first_name"],
            row["last_name"],
            row["balance"],
            row["created_at"],
            row["anonymised_at"],
        )
    return None


async def find_usernames(connection: Connection, user_ids: Collection[int]) -> Mapping[int, str]:
    """Return how users are called, by id."""
    if not user_ids:
        return {}
    rows = await queries.console.find_usernames(connection, user_ids=list(set(user_ids)))
    return {row["id"]: row["username"] for row in rows}


async def find_entries(
    connection: Connection, documents: Sequence[Document]
) -> "Sequence[FindEntriesRow]":
    """Return what documents have moved, in the order in which it was posted."""
    return await queries.console.find_entries(
        connection,
        kinds=[document.kind for document in documents],
        ids=[document.id for document in documents],
    )


async def find_attempts(connection: Connection, order_id: int) -> Attempts | None:
    """Return how often settling an order has failed; None for an unknown order."""
    rows = await queries.console.find_attempts(connection, order_id=order_id)
    for row in rows:
        return Attempts(row["attempts"], row["next_attempt_at"], row["request_id"])
    return None


async def find_deliveries(
    connection: Connection, event_ids: Sequence[int]
) -> "Sequence[FindEventDeliveriesRow]":
    """Return how events were delivered to subscriptions, as far as that is kept and recent."""
    if not event_ids:
        return []
    return await queries.subscriptions.find_event_deliveries(
        connection, event_ids=event_ids, statuses=DELIVERY_STATUSES, newest=NEWEST
    )


async def list_deployments(
    connection: Connection,
    *,
    project_id: int | None,
    statuses: Sequence[str],
    before: int,
    page_size: int,
) -> "Sequence[ListDeploymentsRow]":
    """Return a page of deployments, newest first: ids below `before`, perhaps of one project."""
    if project_id is None:
        return await queries.console.list_deployments(
            connection, statuses=statuses, before=before, page_size=page_size
        )
    return await queries.console.list_project_deployments(
        connection,
        project_id=project_id,
        statuses=statuses,
        before=before,
        page_size=page_size,
    )
