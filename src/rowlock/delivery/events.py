"""The events about the outbox itself: what each one says."""

from typing import Annotated, Any, TypedDict

from rowlock.engine.event_types import EventType, fact

SUBJECT = "outbox:dead_letters"


class OutboxChanged(TypedDict):
    """What `outbox.replayed` and `outbox.parked` say."""

    events: Annotated[int, fact("How many events.", minimum=1)]


REPLAYED = EventType(
    "outbox.replayed",
    OutboxChanged,
    "An operator has put dead letters back into the outbox, to be sent again.",
    subject=SUBJECT,
    example={"events": 1204},
)
PARKED = EventType(
    "outbox.parked",
    OutboxChanged,
    "An operator has taken events out of the outbox, as dead letters.",
    subject=SUBJECT,
    example={"events": 1},
)
EVENTS: tuple[EventType[Any], ...] = (PARKED, REPLAYED)
