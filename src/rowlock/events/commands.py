"""Lock, decide, write: the intake of events."""

from collections.abc import Sequence

from rowlock.database import Connection
from rowlock.events.rules import Delivered, Intake, NewEvent, decide
from rowlock.queries import queries


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
        columns = zip(*intake.accepted, strict=True)
        new_ids, names, subjects, payloads, created_ats, request_ids = columns
        rows = await queries.events.store_events(
            connection,
            event_ids=new_ids,
            names=names,
            subjects=subjects,
            payloads=payloads,
            request_ids=request_ids,
            created_ats=created_ats,
        )
        ids.update(zip(new_ids, [row["id"] for row in rows], strict=True))
    return [Delivered(count, ids) for count in counts]
