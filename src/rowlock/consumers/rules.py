"""Where consumers stand in the log, and what moves them.

An acknowledgement moves a consumer forward only. A reset moves it anywhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from rowlock.origin import SYSTEM, Origin
from rowlock.rejections import (
    ConsumerNotFound,
    EventNotStored,
    PositionUnknown,
    Rejection,
    TooManyConsumers,
)

# As in the CHECK of the table.
NAME_PATTERN = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"
MOST_CONSUMERS = 1000


class PutConsumer(NamedTuple):
    """Have a consumer of this name; put it at a position, unless that is None."""

    name: str
    position: int | None = None  # of the last event that it is done with; 0: none
    origin: Origin = SYSTEM


class DeleteConsumer(NamedTuple):
    """Forget a consumer."""

    name: str
    origin: Origin = SYSTEM


class Acknowledge(NamedTuple):
    """A consumer is done with all events up to the one with this id."""

    name: str
    id: int


class Consumer(NamedTuple):
    """A consumer."""

    id: int
    name: str
    position: int  # of the last event that it is done with; 0: none
    created_at: datetime
    created_by: str
    acknowledged_at: datetime | None
    lag_events: int = 0  # about
    lag_s: float = 0.0  # age of the oldest event that it is not done with; 0: there is none


class Placed(NamedTuple):
    """A consumer, and whether it is new."""

    consumer: Consumer
    is_new: bool


class Around(NamedTuple):
    """What the log has around an id."""

    last_id: int  # of the last event up to it; 0: none
    next_id: int | None  # of the first event after it


@dataclass(slots=True)
class Roll:
    """The consumers that commands name, as each of the commands finds them, and the number of all.

    `positions` has those that exist. The rest is what has become of them.
    """

    positions: dict[str, int]
    count: int
    created: dict[str, PutConsumer] = field(default_factory=dict)  # the first command of each
    reset: dict[str, PutConsumer] = field(default_factory=dict)  # the last one


def decide_put(command: PutConsumer, roll: Roll) -> bool | Rejection:
    """Create a consumer, reset it, or leave it as it is; return whether it is new."""
    if command.name not in roll.positions:
        if roll.count >= MOST_CONSUMERS:
            return TooManyConsumers(limit=MOST_CONSUMERS)
        roll.count += 1
        roll.positions[command.name] = command.position or 0
        roll.created[command.name] = command
        return True
    if command.position is not None:
        roll.positions[command.name] = command.position
        roll.reset[command.name] = command
    return False


def decide_acknowledge(
    command: Acknowledge, positions: dict[str, int], log: Mapping[int, Around]
) -> int | Rejection:
    """Return where a consumer stands after an acknowledgement, and keep it in `positions`.

    An older id than the position changes nothing. An event that the log does not have can't be
    done with: it was lost, or is not there yet.
    """
    position = positions.get(command.name)
    if position is None:
        return ConsumerNotFound.of(command.name)
    if command.id <= position:
        return position
    around = log[command.id]
    if around.last_id != command.id:
        if around.next_id is None:
            return EventNotStored(id=command.id, last_id=around.last_id)
        return PositionUnknown(last_valid_id=around.last_id, first_id_after=around.next_id)
    positions[command.name] = command.id
    return command.id


def is_name(text: str) -> bool:
    """Tell whether a consumer can be called so."""
    return re.fullmatch(NAME_PATTERN, text) is not None and not text.endswith("\n")
