"""The outbox: each change appends its events to a log, in the transaction of the change."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import orjson

from rowlock.engine import leases
from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries
from rowlock.errors import NotKept
from rowlock.origin import Origin

if TYPE_CHECKING:
    from rowlock.engine.typed.leases import DescribeRow
    from rowlock.engine.typed.metrics import MeasureOutboxRow
    from rowlock.engine.typed.outbox import (
        DescribeBacklogRow,
        DescribeKeptRow,
        ListDeadRow,
        MeasureResendRow,
    )

LEASE = "relay"  # of the process that delivers the outbox
CHANNEL = "events_appended"  # wakes that process
REPLAY_PAGE = 20_000
# A place, written in one way only, so that who reads it and writes it again says the same.
PLACE = re.compile(r"(0|[1-9][0-9]{0,19})/(0|[1-9][0-9]{0,18})")
XIDS, POSITIONS = 2**64, 2**63  # how many there are in PostgreSQL
MARKS_PAUSE = timedelta(minutes=1)  # at most; see outbox_marks


def parse_place(text: str) -> tuple[int, int] | None:
    """Return the transaction id and the position of a place in an outbox; None if it is none."""
    match = PLACE.fullmatch(text)
    if match is None:
        return None
    xid, position = int(match[1]), int(match[2])
    return (xid, position) if xid < XIDS and position < POSITIONS else None


class Event(NamedTuple):
    """Something that happened, such as `invoice.paid` to `invoice:7`, with its facts.

    Features make them by an EventType (engine/event_types), which knows what each event says.
    """

    name: str
    subject: str  # kind:id; events of one subject are delivered in order
    payload: Mapping[str, object]  # ids and minor units as numbers, times as datetimes
    origin: Origin
    created_at: datetime | None = None  # None: when it is appended


def dump(payload: Mapping[str, object]) -> str:
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
            traceparents=[event.origin.traceparent for event in events],
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


async def describe_kept(database: Database) -> "DescribeKeptRow":
    """Return what is kept of the delivered events, and when the relay has gone back."""
    async with database.connection() as connection:
        [row] = await queries.outbox.describe_kept(connection)
    return row


async def accept_losses(database: Database) -> int:
    """Note that an operator knows which events were lost; return how often some were."""
    async with database.transaction() as connection:
        return len(await queries.outbox.accept_losses(connection))


class Resend(NamedTuple):
    """A request to deliver again what was delivered since a time."""

    events: int
    end: tuple[int, int]  # the place up to which they were delivered
    is_led: bool  # a process delivers, so that it will begin soon


async def ask_resend(database: Database, since: datetime) -> Resend:
    """Ask the relay to deliver again what it has delivered since a time.

    Raises NotKept if not all of that is in the outbox.
    """
    async with database.transaction() as connection:
        await queries.outbox.lock_marks(connection)
        marks = await queries.outbox.find_mark(connection, since=since)
        xid, position = (marks[0]["xid"], marks[0]["position"]) if marks else (0, 0)
        [kept] = await queries.outbox.find_kept(connection, xid=xid, position=position)
        if not marks:
            raise NotKept.since(kept["kept_since"])
        leader = await leases.find_leader(connection, LEASE)
        [cursor] = await queries.outbox.ask_resend(connection, xid=xid, position=position)
    is_led = leader is not None and leader["is_held"]
    return Resend(kept["events"], (cursor["xid"], cursor["position"]), is_led)


async def measure_resend(database: Database, resend: Resend) -> "MeasureResendRow":
    """Return how much of a request is left to do."""
    xid, position = resend.end
    async with database.connection() as connection:
        [row] = await queries.outbox.measure_resend(connection, xid=xid, position=position)
    return row


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
        return await set_aside(connection, event_ids, "parked by rowlock outbox park")


async def set_aside(connection: Connection, event_ids: Sequence[UUID], reason: str) -> int:
    """Make dead letters of events that are not delivered yet; return how many were found."""
    rows = await queries.outbox.park_undelivered(connection, event_ids=event_ids, error=reason)
    return len(rows)


async def replay(database: Database, event_ids: Sequence[UUID]) -> int:
    """Put refused events back into the log; return how many were found."""
    async with database.transaction() as connection:
        return await put_back(connection, event_ids)


async def put_back(connection: Connection, event_ids: Sequence[UUID]) -> int:
    """Put refused events back into the log; return how many were found."""
    return len(await queries.outbox.replay_dead(connection, event_ids=event_ids))


class Letters(NamedTuple):
    """Which dead letters are meant; all by default."""

    status: int | None = None  # HTTP
    error: str | None = None
    name: str | None = None
    since: datetime | None = None  # refused then or later
    until: datetime | None = None  # refused before


class Place(NamedTuple):
    """A place in a list of dead letters."""

    at: datetime
    event_id: UUID


EVERY = Place(datetime.min.replace(tzinfo=UTC), UUID(int=0))  # before all


async def replay_all(
    database: Database, advance: Callable[[int], None], page_size: int = REPLAY_PAGE
) -> int:
    """Put all refused events back into the log, in order; return how many there were.

    A page is a transaction, after which `advance` gets its number of events. An event that is
    refused again during the run is not put back a second time.
    """
    place: Place | None = EVERY
    total = 0
    while place is not None:
        async with database.transaction() as connection:
            place, replayed = await replay_page(connection, Letters(), place, page_size)
        total += replayed
        if place is not None:
            advance(replayed)
    return total


async def replay_page(
    connection: Connection, wanted: Letters, after: Place, page_size: int
) -> tuple[Place | None, int]:
    """Put a page of refused events back into the log, in the order in which they happened.

    Returns where to go on, None if there are no more; and how many were put back.
    """
    page = await queries.outbox.page_dead(
        connection,
        created_at=after.at,
        event_id=after.event_id,
        page_size=page_size,
        **wanted._asdict(),
    )
    if not page:
        return None, 0
    replayed = await put_back(connection, [row["event_id"] for row in page])
    return Place(page[-1]["created_at"], page[-1]["event_id"]), replayed


class Keep(NamedTuple):
    """What stays in the outbox of the events that were delivered, whichever is less."""

    time: timedelta  # since the delivery; 0: none stay
    events: int

    @property
    def pause(self) -> timedelta:
        """How often to note how far the log is delivered: what is kept is so much too old."""
        return min(MARKS_PAUSE, self.time / 60)


async def purge_delivered(database: Database, keep: Keep, page_size: int) -> int:
    """Remove at most `page_size` delivered events, oldest first; return how many it removed."""
    async with database.transaction() as connection:
        # By itself: it waits for a relay that goes back, and the next statement sees where to.
        await queries.outbox.note_mark(connection, pause=keep.pause)
        [row] = await queries.outbox.purge_delivered(
            connection, page_size=page_size, keep=keep.time, keep_events=keep.events
        )
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
        await queries.outbox.lock_marks(connection)
        await queries.outbox.lock_log(connection)
        await queries.outbox.forget_delivered(connection)
        [row] = await queries.outbox.rebase(connection)
    return row["renumbered"]
