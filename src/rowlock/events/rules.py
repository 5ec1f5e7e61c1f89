"""What is an event, which ones are new, and how old they may be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from rowlock.rejections import EpochOutdated, LogMoved

BEYOND_ALL = 2**63 - 1  # where a reader begins that goes from the newest event on


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
    traceparent: str | None = None  # of that request, if it belongs to a trace


class NewEvent(NamedTuple):
    """An event as its sender gives it."""

    event_id: UUID
    name: str
    subject: str | None
    payload: str  # JSON
    created_at: datetime
    request_id: str | None = None  # of the request that caused it
    actor: str | None = None  # who made that request
    traceparent: str | None = None  # of that request, if it belongs to a trace
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
            self.traceparent,
        )


class LogState(NamedTuple):
    """A log of events, and how far it has the events of one source."""

    log: str  # what it is called
    mark: str | None  # the latest place that the source has named; None: it has named none


EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a reader wants: those to which all applies that is not None."""

    name: str | None = None
    subject: str | None = None
    since: datetime = EVER[0]  # of created_at: included
    until: datetime = EVER[1]  # not included

    @property
    def is_timed(self) -> bool:
        """Whether the time matters."""
        return (self.since, self.until) != EVER

    @property
    def takes_all(self) -> bool:
        """Whether it is every event."""
        return self.name is None and self.subject is None and not self.is_timed

    def takes(self, event: StoredEvent) -> bool:
        """Tell whether it is one of them."""
        return (
            self.name in {None, event.name}
            and self.subject in {None, event.subject}
            and self.since <= event.created_at < self.until
        )


class Unknown(NamedTuple):
    """A place that the log does not have: its events were lost, or it is beyond the end."""

    last_valid_id: int  # the place to go on from
    first_id_after: int | None  # of the events after the lost ones; None: beyond the end


class Cut(NamedTuple):
    """A jump of the ids of events; what has had ids in between was lost."""

    last: int  # the last id before it
    first: int  # the first one after it


class End(NamedTuple):
    """Where the log ends."""

    id: int  # of the newest event; 0 if there are none
    last_id: int  # that an event can have had: more than `id` if the retention has removed all


def find_unknown(place: int, cuts: Iterable[Cut], end: End | None) -> Unknown | None:
    """Return where a reader must go on whose `place` is in a cut or beyond `end`, else None.

    The newest of the `cuts` comes first: it may span an older one.
    """
    for cut in cuts:
        if cut.last < place < cut.first:
            return Unknown(*cut)
    if end is not None and place > end.last_id:
        return Unknown(end.id, None)
    return None


class Sender(NamedTuple):
    """A source whose events a leader delivers, and the epoch of the leader's lease."""

    source: UUID
    epoch: int
    mark: str | None = None  # the source's name for the place of the last event; None: no place
    expected: LogState | None = None  # as the sender knows it; None: it does not say


class Delivery(NamedTuple):
    """Events that arrive together."""

    events: Sequence[NewEvent]
    sender: Sender | None = None  # None: it does not say, as release 0.1.0


class MissingPartition(NamedTuple):
    """A month that has no partition."""

    month: date  # its first day
    too_many: bool  # the month has more events than may move into a partition


class Source(NamedTuple):
    """What is known of a source: the highest epoch that has sent events, and its mark."""

    epoch: int
    mark: str | None


@dataclass(slots=True)
class Intake:
    """The events that a batch of deliveries adds, in arrival order."""

    known: set[UUID]  # stored already, or accepted before in this batch
    log: str = ""  # what it is called
    sources: dict[UUID, Source] = field(default_factory=dict)
    accepted: list[NewEvent] = field(default_factory=list)
    repeated: list[NewEvent] = field(default_factory=list)


class Counts(NamedTuple):
    """What became of one delivery's events."""

    accepted: int
    duplicates: int  # their ids were known


def decide(delivery: Delivery, intake: Intake) -> Counts | EpochOutdated | LogMoved:
    """Accept the events that are new, the first of an `event_id`.

    None of an outdated leader, and none of one that takes the log to be in another state: later
    events of a subject must not come before those that the log has lost.
    """
    if delivery.sender is not None:
        rejection = _note(delivery.sender, intake)
        if rejection is not None:
            return rejection
    before = len(intake.accepted)
    for event in delivery.events:
        if event.event_id in intake.known:
            intake.repeated.append(event)
        else:
            intake.known.add(event.event_id)
            intake.accepted.append(event)
    accepted = len(intake.accepted) - before
    return Counts(accepted, len(delivery.events) - accepted)


def _note(sender: Sender, intake: Intake) -> EpochOutdated | LogMoved | None:
    """Note the sender's epoch and mark; return why it is refused, if it is."""
    known = intake.sources.get(sender.source, Source(sender.epoch, None))
    if sender.epoch < known.epoch:
        return EpochOutdated(epoch=sender.epoch, latest_epoch=known.epoch)
    intake.sources[sender.source] = Source(sender.epoch, known.mark)
    state = LogState(intake.log, known.mark)
    if sender.expected is not None and sender.expected != state:
        return LogMoved(
            **{name: text for name, text in state._asdict().items() if text is not None}
        )
    mark = known.mark if sender.mark is None else sender.mark
    intake.sources[sender.source] = Source(sender.epoch, mark)
    return None


class Delivered(NamedTuple):
    """The outcome of a delivery: its counts, and the place in the log of each event."""

    counts: Counts
    ids: Mapping[UUID, int]
    conflicts: Sequence[UUID]  # of the duplicates, those stored with another content
    state: LogState | None = None  # of the log after it; None: its sender has named no place


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
