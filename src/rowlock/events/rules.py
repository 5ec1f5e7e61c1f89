"""What is an event, which ones are new, and how old they may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from rowlock.errors import EpochOutdated


class StoredEvent(NamedTuple):
    """An event of the log."""

    id: int  # its place in the log
    event_id: UUID
    name: str
    subject: str | None
    payload: str  # JSON
    request_id: str | None
    actor: str | None
    created_at: datetime


class NewEvent(NamedTuple):
    """An event as its sender gives it."""

    event_id: UUID
    name: str
    subject: str | None
    payload: str  # JSON
    created_at: datetime
    request_id: str | None = None  # of the request that caused it
    actor: str | None = None  # who made that request
    is_dated: bool = True  # its sender has said when it happened

    def at(self, id_: int) -> StoredEvent:
        """Return the event as it is stored in the place `id_`."""
        return StoredEvent(
            id_,
            self.event_id,
            self.name,
            self.subject,
            self.payload,
            self.request_id,
            self.actor,
            self.created_at,
        )


class Sender(NamedTuple):
    """A log whose events a leader delivers, and the epoch of the leader's lease."""

    source: UUID
    epoch: int


class Delivery(NamedTuple):
    """Events that arrive together."""

    events: Sequence[NewEvent]
    sender: Sender | None = None  # None: it does not say, as release 0.1.0


class MissingPartition(NamedTuple):
    """A month that has no partition."""

    month: date  # its first day
    too_many: bool  # the month has more events than may move into a partition


@dataclass(slots=True)
class Intake:
    """The events that a batch of deliveries adds, in arrival order."""

    known: set[UUID]  # stored already, or accepted before in this batch
    epochs: dict[UUID, int] = field(default_factory=dict)  # the highest of each source
    accepted: list[NewEvent] = field(default_factory=list)
    repeated: list[NewEvent] = field(default_factory=list)


class Counts(NamedTuple):
    """What became of one delivery's events."""

    accepted: int
    duplicates: int  # their ids were known


def decide(delivery: Delivery, intake: Intake) -> Counts | EpochOutdated:
    """Accept the events that are new, the first of an `event_id`; none of an outdated leader."""
    if delivery.sender is not None:
        source, epoch = delivery.sender
        latest = intake.epochs.get(source, epoch)
        if epoch < latest:
            return EpochOutdated(epoch=epoch, latest_epoch=latest)
        intake.epochs[source] = epoch
    before = len(intake.accepted)
    for event in delivery.events:
        if event.event_id in intake.known:
            intake.repeated.append(event)
        else:
            intake.known.add(event.event_id)
            intake.accepted.append(event)
    accepted = len(intake.accepted) - before
    return Counts(accepted, len(delivery.events) - accepted)


class Delivered(NamedTuple):
    """The outcome of a delivery: its counts, and the place in the log of each event."""

    counts: Counts
    ids: Mapping[UUID, int]
    conflicts: Sequence[UUID]  # of the duplicates, those stored with another content


def retention_start(now: datetime, months: int) -> datetime:
    """Return the start of the oldest month that is kept: `months` before this one, in UTC."""
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    if year < 1:
        return datetime.min.replace(tzinfo=UTC)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def latest_time(now: datetime, ahead_s: float) -> datetime:
    """Return the latest time that an event may have: `ahead_s` seconds from now."""
    try:
        return now + timedelta(seconds=ahead_s)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
