"""How things stand: what waits in the databases, who leads, and what needs attention."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

from rowlock.console import reads
from rowlock.console.reads import Dispatch, Waiting
from rowlock.console.samples import Point
from rowlock.console.sampling import Check, Target
from rowlock.engine.database import Database
from rowlock.errors import Unavailable
from rowlock.pages.templates import show_duration, show_number

# As the alerts in docker/prometheus have it.
OLD_EVENT_S = 60
OLD_ORDER_S = 300
FAILED_SHARE = 0.01


class Trouble(NamedTuple):
    """What needs attention."""

    text: str
    path: str  # where more is to be seen


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stood at a time."""

    at: datetime
    waiting: Waiting | None  # None: the main database can't be read
    dispatch: Dispatch | None  # None: the events database can't be read
    point: Point | None  # of the last minute; None: nothing has been sampled yet
    checks: Sequence[Check]
    targets: Sequence[Target]
    services: int

    @property
    def troubles(self) -> Sequence[Trouble]:
        """What needs attention, what is worst first."""
        return [
            *_find_silent(self.targets, self.checks),
            *_find_waiting(self.waiting),
            *_find_undispatched(self.dispatch),
            *_find_failures(self.point),
        ]


async def read_waiting(main: Database) -> Waiting | None:
    """Return what waits in the main database; None if it can't be read."""
    try:
        return await main.read(reads.measure_waiting)
    except (Unavailable, asyncpg.PostgresError):
        return None


async def read_dispatch(log: Database) -> Dispatch | None:
    """Return how the subscriptions fare; None if the events database can't be read."""
    try:
        return await log.read(reads.measure_dispatch)
    except (Unavailable, asyncpg.PostgresError):
        return None


def _find_silent(targets: Sequence[Target], checks: Sequence[Check]) -> Iterator[Trouble]:
    for check in checks:
        says = "" if check.is_silent else " says"
        yield Trouble(f"{check.service}{says}: {check.problem}.", "/health")
    silent = {check.service for check in checks if check.is_silent}
    for target in targets:
        if target.problem is not None and target.name not in silent:
            yield Trouble(f"{target.name} gives no metrics: {target.problem}.", "/health")


def _find_waiting(waiting: Waiting | None) -> Iterator[Trouble]:
    if waiting is None:
        yield Trouble("The main database can't be read now.", "/health")
        return
    if waiting.losses:
        yield Trouble(
            "The events database has lost events that the outbox keeps no more.", "/health"
        )
    if waiting.outbox_age_s > OLD_EVENT_S:
        age = show_duration(waiting.outbox_age_s)
        yield Trouble(f"An event has waited for {age} to be delivered.", "/health")
    if waiting.outbox_events and waiting.leader is None:
        yield Trouble("No process delivers events: none holds the lease of the relay.", "/health")
    if waiting.orders_age_s > OLD_ORDER_S:
        age = show_duration(waiting.orders_age_s)
        yield Trouble(f"An order has waited for {age} to be settled.", "/orders?status=pending")
    if waiting.dead_letters:
        count = _count(waiting.dead_letters, "dead letter")
        yield Trouble(f"The events service has refused events: {count}.", "/dead-letters")


def _find_undispatched(dispatch: Dispatch | None) -> Iterator[Trouble]:
    if dispatch is None:
        yield Trouble("The events database can't be read now.", "/health")
    elif dispatch.failing or dispatch.disabled:
        parts = [
            f"{number} {word}"
            for number, word in ((dispatch.failing, "failing"), (dispatch.disabled, "disabled"))
            if number
        ]
        yield Trouble(f"Subscriptions need a look: {', '.join(parts)}.", "/deliveries")


def _find_failures(point: Point | None) -> Iterator[Trouble]:
    if point is not None and point.failed_share > FAILED_SHARE:
        share = f"{point.failed_share:.1%}".replace("%", " %")
        yield Trouble(f"{share} of the requests fail.", "/health")


def _count(number: int, word: str) -> str:
    mark = "+" if number == reads.COUNTED else ""
    return f"{show_number(number)}{mark} {word}{'' if number == 1 else 's'}"
