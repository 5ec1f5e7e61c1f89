"""The outbox: each change appends its events to a log, in the transaction of the change."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson

from rowlock.engine import leases
from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries
from rowlock.origin import Origin

if TYPE_CHECKING:
    from rowlock.engine.typed.leases import DescribeRow
    from rowlock.engine.typed.metrics import MeasureOutboxRow
    from rowlock.engine.typed.outbox import DescribeBacklogRow, ListDeadRow

LEASE = "relay"  # of the process that delivers the outbox
CHANNEL = "events_appended"  # wakes that process
REPLAY_PAGE = 20_000


class Event(NamedTuple):
    """Something that happened, such as `invoice.paid` to `invoice:7`, with its facts."""

    name: str
    subject: str  # kind:id; events of one subject are delivered in order
    payload: dict[str, Any]  # ids and minor units as numbers, times as datetimes
    origin: Origin
    created_at: datetime | None = None  # None: when it is appended


def dump(payload: dict[str, Any]) -> str:
    """Return the payload of an event as statements take it."""
    return orjson.dumps(payload, option=orjson.OPT_UTC_Z).decode()


async def append(connection: Connection, events: Sequence[Event]) -> None:
    """Append `events` to the log, in order. `connection` is in the transaction of the change."""
    if events:
        await queries.outbox.append_events(
            connection,
            names=[event.name for event in events],
            subjects=[event.subject for event in events],
            payloads=[dump(event.payload) for event in events],
            request_ids=[event.origin.request_id for event in events],
            actors=[event.origin.actor for event in events],
            created_ats=[event.created_at for event in events],
        )


async def describe_backlog(database: Database) -> "DescribeBacklogRow":
    """Return the backlog: how many events wait, for how long, and whether a restore stranded it."""
    async with database.connection() as connection:
        [row] = await queries.outbox.describe_backlog(connection)
    return row


async def describe_delivery(
    database: Database,
) -> "tuple[DescribeBacklogRow, DescribeRow | None]":
    """Return the backlog, and the process that delivers it or did so last, if there is one."""
    backlog = await describe_backlog(database)
    async with database.connection() as connection:
        return backlog, await leases.find_leader(connection, LEASE)


async def measure_backlog(connection: Connection, counted: int) -> "MeasureOutboxRow":
    """Return what waits to be delivered; count at most `counted` rows of a kind."""
    [row] = await queries.metrics.measure_outbox(connection, counted=counted)
    return row


async def list_dead(database: Database, limit: int) -> "Sequence[ListDeadRow]":
    """Return the events that the events service refused, oldest refusal first."""
    async with database.connection() as connection:
        return await queries.outbox.list_dead(connection, page_size=limit)


async def park(database: Database, event_ids: Sequence[UUID]) -> int:
    """Make dead letters of events that are not delivered yet; return how many were found."""
    async with database.transaction() as connection:
        error = "parked by rowlock outbox park"
        return len(
            await queries.outbox.park_undelivered(connection, event_ids=event_ids, error=error)
        )


async def replay(database: Database, event_ids: Sequence[UUID]) -> int:
    """Put refused events back into the log; return how many were found."""
    async with database.transaction() as connection:
        return len(await queries.outbox.replay_dead(connection, event_ids=event_ids))


async def replay_all(
    database: Database, advance: Callable[[int], None], page_size: int = REPLAY_PAGE
) -> int:
    """Put all refused events back into the log, in order; return how many there were.

    A page is a transaction, after which `advance` gets its number of events. An event that is
    refused again during the run is not put back a second time.
    """
    created_at, event_id = datetime.min.replace(tzinfo=UTC), UUID(int=0)
    total = 0
    while True:
        async with database.transaction() as connection:
            page = await queries.outbox.page_dead(
                connection, created_at=created_at, event_id=event_id, page_size=page_size
            )
            if not page:
                return total
            created_at, event_id = page[-1]["created_at"], page[-1]["event_id"]
            replayed = await queries.outbox.replay_dead(
                connection, event_ids=[row["event_id"] for row in page]
            )
        total += len(replayed)
        advance(len(replayed))


async def purge_delivered(database: Database, page_size: int) -> int:
    """Remove at most `page_size` delivered events, oldest first; return how many it removed."""
    async with database.transaction() as connection:
        [row] = await queries.outbox.purge_delivered(connection, page_size=page_size)
    return row["purged"]


async def purge_dead(database: Database, keep: timedelta, page_size: int) -> int:
    """Remove at most `page_size` dead letters older than `keep`; return how many it removed."""
    async with database.transaction() as connection:
        [row] = await queries.outbox.purge_dead(connection, keep=keep, page_size=page_size)
    return row["purged"]


async def rebase(database: Database) -> int:
    """Renumber undelivered events with this cluster's transaction ids; return how many.

    It is for use after a logical restore, which keeps the transaction ids of another cluster. With
    those, the relay would wait for ever, or take new events for delivered ones.
    """
    async with database.transaction() as connection:
        await queries.outbox.lock_log(connection)
        await queries.outbox.forget_delivered(connection)
        [row] = await queries.outbox.rebase(connection)
    return row["renumbered"]
