"""Lock, decide, write: the intake of events."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg

from rowlock.engine.database import Connection
from rowlock.engine.faults import is_refused, is_retryable
from rowlock.engine.outbox import Event, dump
from rowlock.engine.statements import queries
from rowlock.errors import EventRefused, PartitionBeingMade
from rowlock.events.rules import (
    Counts,
    Delivered,
    Delivery,
    Intake,
    LogState,
    NewEvent,
    Source,
    decide,
)
from rowlock.rejections import EpochOutdated, LogMoved

# The CHECK of events/exclude_month; the month follows.
EXCLUSION = "events_default_not_"


async def store_events(
    connection: Connection, deliveries: Sequence[Delivery]
) -> list[Delivered | EpochOutdated | LogMoved]:
    """Store the new events of each delivery; return each delivery's outcome.

    Raises EventRefused if the database refuses the values, and PartitionBeingMade if it does so
    only for a moment.
    """
    try:
        return await _store(connection, deliveries)
    except asyncpg.PostgresError as error:
        if (error.constraint_name or "").startswith(EXCLUSION):
            raise PartitionBeingMade from error
        if is_refused(error) and not is_retryable(error):
            raise _describe(error) from error
        raise


async def append(connection: Connection, events: Sequence[Event]) -> None:
    """Append what has happened in this database itself to the log, as outbox.append does elsewhere.

    `connection` is in the transaction of the change, and locks nothing after this.
    """
    if events:
        now = datetime.now(UTC)
        own = [
            NewEvent(
                uuid4(),
                event.name,
                event.subject,
                dump(event.payload),
                event.created_at or now,
                event.origin.request_id,
                event.origin.actor,
                event.origin.traceparent,
            )
            for event in events
        ]
        await store_events(connection, [Delivery(own)])


async def _store(
    connection: Connection, deliveries: Sequence[Delivery]
) -> list[Delivered | EpochOutdated | LogMoved]:
    await queries.events.lock_log(connection)
    event_ids = {event.event_id for delivery in deliveries for event in delivery.events}
    rows = await queries.events.find_keys(connection, event_ids=list(event_ids))
    ids = {row["event_id"]: row["id"] for row in rows}
    log, before = await _find_sources(connection, deliveries)
    intake = Intake(known=set(ids), log=log, sources=dict(before))
    counts = [decide(delivery, intake) for delivery in deliveries]
    await _note_sources(connection, before, intake.sources)
    if intake.accepted:
        new_ids = [event.event_id for event in intake.accepted]
        stored = await queries.events.store_events(
            connection,
            event_ids=new_ids,
            names=[event.name for event in intake.accepted],
            subjects=[event.subject for event in intake.accepted],
            payloads=[event.payload for event in intake.accepted],
            request_ids=[event.request_id for event in intake.accepted],
            actors=[event.actor for event in intake.accepted],
            traceparents=[event.traceparent for event in intake.accepted],
            created_ats=[event.created_at for event in intake.accepted],
        )
        ids.update(zip(new_ids, [row["id"] for row in stored], strict=True))
    differing = await _find_differing(connection, intake.repeated)
    return [
        _conclude(delivery, count, ids, differing, log)
        for delivery, count in zip(deliveries, counts, strict=True)
    ]


async def _find_sources(
    connection: Connection, deliveries: Sequence[Delivery]
) -> tuple[str, Mapping[UUID, Source]]:
    """Return what the log is called and what it knows of the senders, if there are any."""
    sources = {each.sender.source for each in deliveries if each.sender is not None}
    if not sources:
        return "", {}
    rows = await queries.events.find_sources(connection, sources=list(sources))
    known = {
        row["source"]: Source(row["epoch"], row["mark"])
        for row in rows
        if row["source"] is not None and row["epoch"] is not None
    }
    return rows[0]["log"], known


async def _note_sources(
    connection: Connection, before: Mapping[UUID, Source], after: Mapping[UUID, Source]
) -> None:
    """Write what has changed of the sources."""
    changed = {source: now for source, now in after.items() if before.get(source) != now}
    if changed:
        await queries.events.note_sources(
            connection,
            sources=list(changed),
            epochs=[each.epoch for each in changed.values()],
            marks=[each.mark for each in changed.values()],
        )


async def _find_differing(connection: Connection, events: Sequence[NewEvent]) -> set[int]:
    """Return which of `events`, by identity, are stored with another content."""
    if not events:
        return set()
    rows = await queries.events.find_differing(
        connection,
        event_ids=[event.event_id for event in events],
        names=[event.name for event in events],
        subjects=[event.subject for event in events],
        payloads=[event.payload for event in events],
        created_ats=[event.created_at if event.is_dated else None for event in events],
    )
    return {id(events[row["ordinal"] - 1]) for row in rows}


def _conclude(
    delivery: Delivery,
    outcome: Counts | EpochOutdated | LogMoved,
    ids: Mapping[UUID, int],
    differing: Collection[int],
    log: str,
) -> Delivered | EpochOutdated | LogMoved:
    if not isinstance(outcome, Counts):
        return outcome
    conflicts = (event.event_id for event in delivery.events if id(event) in differing)
    mark = delivery.sender.mark if delivery.sender is not None else None
    state = LogState(log, mark) if mark is not None else None
    return Delivered(outcome, ids, list(dict.fromkeys(conflicts)), state)


def _describe(error: asyncpg.PostgresError) -> EventRefused:
    """Return what a client is told, without the values that PostgreSQL quotes behind a colon."""
    problem = str(error.args[0]).partition(":")[0]
    constraint = {"constraint": error.constraint_name} if error.constraint_name else {}
    return EventRefused(
        f"The events database refuses this: {problem}.", sqlstate=error.sqlstate, **constraint
    )
