"""Lock, decide, write: the intake of events."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.events.rules import Delivered, Intake, NewEvent, StoredEvent, decide

if TYPE_CHECKING:
    from rowlock.engine.typed.events import FindEventsRow


async def find_events(connection: Connection, ids: Sequence[int]) -> dict[int, StoredEvent]:
    """Return those of the events that exist, by their places in the log."""
    rows = await queries.events.find_events(connection, ids=ids)
    return {row["id"]: read_event(row) for row in rows}


def read_event(row: "FindEventsRow") -> StoredEvent:
    """Return a row of an event as one."""
    return StoredEvent(
        row["id"],
        row["event_id"],
        row["name"],
        row["subject"],
        row["payload"],
        row["request_id"],
        row["created_at"],
    )


async def store_events(
    connection: Connection, deliveries: Sequence[Sequence[NewEvent]]
) -> list[Delivered]:
    """Store the new events of each delivery; return what became of each delivery."""
    await queries.events.lock_log(connection)
    event_ids = {event.event_id for delivery in deliveries for event in delivery}
    rows = await queries.events.find_keys(connection, event_ids=list(event_ids))
    ids = {row["event_id"]: row["id"] for row in rows}
    intake = Intake(known=set(ids))
    counts = [decide(delivery, intake) for delivery in deliveries]
    if intake.accepted:
        new_ids = [event.event_id for event in intake.accepted]
        stored = await queries.events.store_events(
            connection,
            event_ids=new_ids,
            names=[event.name for event in intake.accepted],
            subjects=[event.subject for event in intake.accepted],
            payloads=[event.payload for event in intake.accepted],
            request_ids=[event.request_id for event in intake.accepted],
            created_ats=[event.created_at for event in intake.accepted],
        )
        ids.update(zip(new_ids, [row["id"] for row in stored], strict=True))
    return [Delivered(count, ids) for count in counts]
