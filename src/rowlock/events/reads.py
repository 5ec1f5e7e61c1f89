"""Reading events."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.events.rules import StoredEvent

if TYPE_CHECKING:
    from rowlock.engine.typed.events import FindEventsRow


async def find_events(connection: Connection, ids: Sequence[int]) -> dict[int, StoredEvent]:
    """Return those of the events that exist, by id."""
    rows = await queries.events.find_events(connection, ids=ids)
    return {row["id"]: read_event(row) for row in rows}


async def find_last_id(connection: Connection) -> int:
    """Return the id of the newest event; 0 if there are none."""
    [row] = await queries.events.find_last_id(connection)
    return row["id"]


async def list_events(connection: Connection, *, after: int, page_size: int) -> list[StoredEvent]:
    """Return a page of the log, oldest first: events with ids above `after`."""
    rows = await queries.events.list_events(connection, after=after, page_size=page_size)
    return [read_event(row) for row in rows]


def read_event(row: "FindEventsRow") -> StoredEvent:
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
    )
