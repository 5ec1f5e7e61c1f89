"""What is an event, which ones are new, and how old they may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import UUID


class NewEvent(NamedTuple):
    """An event as its sender gives it."""

    event_id: UUID
    name: str
    subject: str | None
    payload: str  # JSON
    created_at: datetime
    request_id: str | None = None  # of the request that caused it


class StoredEvent(NamedTuple):
    """An event of the log."""

    id: int  # its place in the log
    event_id: UUID
    name: str
    subject: str | None
    payload: str  # JSON
    request_id: str | None
    created_at: datetime


class MissingPartition(NamedTuple):
    """A month that has no partition."""

    month: date  # its first day
    too_many: bool  # the month has more events than may move into a partition


@dataclass(slots=True)
class Intake:
    """The events that a batch of deliveries adds, in arrival order."""

    known: set[UUID]  # stored already, or accepted before in this batch
    accepted: list[NewEvent] = field(default_factory=list)


class Counts(NamedTuple):
    """What became of one delivery's events."""

    accepted: int
    duplicates: int


def decide(events: Sequence[NewEvent], intake: Intake) -> Counts:
    """Accept those of `events` that are new; the first of an `event_id` wins."""
    before = len(intake.accepted)
    for event in events:
        if event.event_id not in intake.known:
            intake.known.add(event.event_id)
            intake.accepted.append(event)
    accepted = len(intake.accepted) - before
    return Counts(accepted, len(events) - accepted)


class Delivered(NamedTuple):
    """The outcome of a delivery: its counts, and the place in the log of each event."""

    counts: Counts
    ids: Mapping[UUID, int]


def retention_start(now: datetime, months: int) -> datetime:
    """Return the start of the oldest month that is kept: `months` before this one, in UTC."""
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    if year < 1:
        return datetime.min.replace(tzinfo=UTC)
    return datetime(year, month + 1, 1, tzinfo=UTC)
