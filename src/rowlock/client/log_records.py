"""What the service of events tells, as records. Times are aware datetimes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from rowlock.client.shapes import Record


@dataclass(frozen=True, slots=True)
class Event(Record):
    """An event of the log. `id` is its place there, `event_id` the sender's name for it."""

    id: int
    event_id: UUID
    name: str
    subject: str | None
    payload: Mapping[str, Any]
    created_at: datetime
    request_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class NewEvent(Record):
    """An event to be stored in a batch. Its `event_id` lets it be stored once."""

    name: str
    payload: Mapping[str, Any]
    event_id: UUID = field(default_factory=uuid4)
    subject: str | None = None
    created_at: datetime | None = None
    request_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Counts(Record):
    """How many events of a batch were stored, and how many were there already."""

    accepted: int
    duplicates: int
    conflicts: tuple[UUID, ...] = ()  # of another content than those that are stored


@dataclass(frozen=True, slots=True)
class EventType(Record):
    """A name of events."""

    name: str
    version: int
    description: str
    subject: str
    url: str


@dataclass(frozen=True, slots=True)
class Subscription(Record):
    """Where events are posted to: active, disabled or ended."""

    id: int
    url: str
    names: tuple[str, ...]
    subject: str | None
    description: str | None
    status: str
    reason: str | None
    delivered: int
    failed: int
    failing_since: datetime | None
    last_problem: str | None
    recovers_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class NewSubscription(Subscription):
    """A subscription with its secret, which is shown this once."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery(Record):
    """The posting of one event to one subscription."""

    id: int
    subscription_id: int
    event_id: int | None
    name: str
    status: str
    attempts: int
    problem: str | None
    created_at: datetime
    due_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Consumer(Record):
    """A named cursor in the log. `position` is the last event that it is done with."""

    id: int
    name: str
    position: int
    created_at: datetime
    created_by: str
    acknowledged_at: datetime | None
    lag_events: int
    lag_s: float


@dataclass(frozen=True, slots=True)
class Acknowledged(Record):
    """Where a consumer stands."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Reset(Record):
    """Events above `last_valid_id` were lost: what a reader has made of them is in doubt."""

    last_valid_id: int
    first_id_after: int | None  # None: the position was beyond the log's end
