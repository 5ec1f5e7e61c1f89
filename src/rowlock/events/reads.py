"""Reading events."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from rowlock.engine.database import Connection
from rowlock.engine.seeks import planning
from rowlock.engine.statements import queries
from rowlock.events.rules import StoredEvent, Wanted

if TYPE_CHECKING:
    from rowlock.engine.typed.events import FindEventsRow, ListEventsRow


async def find_events(connection: Connection, ids: Sequence[int]) -> dict[int, StoredEvent]:
    """Return those of the events that exist, by id."""
    rows = await queries.events.find_events(connection, ids=ids)
    return {row["id"]: _read_event(row) for row in rows}


class Page(NamedTuple):
    """A page of the log, oldest first."""

    events: Sequence[StoredEvent]
    epoch: UUID | None  # of the cluster, when the page was read; None if there are no events


async def list_events(connection: Connection, *, after: int, page_size: int) -> Page:
    """Return a page of the log, oldest first: events with ids above `after`."""
    rows = await queries.events.list_events(connection, after=after, page_size=page_size)
    return _read_page(rows)


async def list_oldest(
    connection: Connection, *, wanted: Wanted, after: int, page_size: int
) -> Page:
    """Return a page of what is wanted of the log, oldest first: ids above `after`."""
    rows: Sequence[ListEventsRow]
    since, until = wanted.since, wanted.until
    if wanted.subject is not None:
        rows = await queries.events.list_events_by_subject(
            connection,
            subject=wanted.subject,
            name=wanted.name,
            after=after,
            since=since,
            until=until,
            page_size=page_size,
        )
    elif wanted.name is not None:
        async with planning(connection):
            rows = await queries.events.list_events_by_name(
                connection,
                name=wanted.name,
                after=after,
                since=since,
                until=until,
                page_size=page_size,
            )
    elif wanted.is_timed:
        rows = await queries.events.list_events_between(
            connection, after=after, since=since, until=until, page_size=page_size
        )
    else:
        return await list_events(connection, after=after, page_size=page_size)
    return _read_page(rows)


async def list_newest(
    connection: Connection, *, wanted: Wanted, before: int, page_size: int
) -> Sequence[StoredEvent]:
    """Return a page of what is wanted of the log, newest first: ids below `before`."""
    rows: Sequence[FindEventsRow]
    since, until = wanted.since, wanted.until
    if wanted.subject is not None:
        rows = await queries.events.list_newest_events_by_subject(
            connection,
            subject=wanted.subject,
            name=wanted.name,
            before=before,
            since=since,
            until=until,
            page_size=page_size,
        )
    elif wanted.name is not None:
        async with planning(connection):
            rows = await queries.events.list_newest_events_by_name(
                connection,
                name=wanted.name,
                before=before,
                since=since,
                until=until,
                page_size=page_size,
            )
    else:
        rows = await queries.events.list_newest_events(
            connection, before=before, since=since, until=until, page_size=page_size
        )
    return [_read_event(row) for row in rows]


def _read_page(rows: "Sequence[ListEventsRow]") -> Page:
    """Return the rows of a page as one."""
    return Page([_read_event(row) for row in rows], rows[0]["epoch"] if rows else None)


def _read_event(row: "FindEventsRow") -> StoredEvent:
    """Return a row of an event as one."""
    return StoredEvent(
        row["id"],
        row["event_id"],
        row["name"],
        row["subject"],
        row["payload"],
        row["request_id"],
        row["actor"],
        row["created_at"],
        row["traceparent"],
    )
