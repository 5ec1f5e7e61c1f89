"""Stories: what happened to a document, in order, as the pages of orders and invoices tell it.

The facts come from the main database, their events and deliveries from that of the events.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rowlock.console import Features, reads
from rowlock.errors import Unavailable
from rowlock.events.rules import BEYOND_ALL, StoredEvent, Wanted

if TYPE_CHECKING:
    from rowlock.engine.typed.subscriptions import FindEventDeliveriesRow

MOST_EVENTS = 50


class Step(NamedTuple):
    """Something that happened to a document, or that it waits for."""

    at: datetime | None  # None: it is still to come
    text: str
    state: str = ""  # waits or bad
    tells: tuple[str, ...] = ()  # the names of the events that report it
    event: StoredEvent | None = None  # the one that does
    request_id: str | None = None  # of what caused it; else the event may say
    delivery: "FindEventDeliveriesRow | None" = None  # that it was
    gap_s: float | None = None  # since the step before
    is_new_day: bool = True


class Log(NamedTuple):
    """What the events database says of a document."""

    events: Sequence[StoredEvent]  # oldest first
    dispatched: int  # up to which event the subscriptions have been given theirs
    deliveries: "Sequence[FindEventDeliveriesRow]"


async def read_log(features: Features, subject: str) -> Log | None:
    """Return what the log has on a subject; None if it can't be read now."""
    try:
        newest = await features.events.list_newest(
            Wanted(subject=subject), before=BEYOND_ALL, page_size=MOST_EVENTS
        )
        dispatched = await features.log.read(reads.find_dispatched)
        event_ids = [event.id for event in newest]
        deliveries = await features.log.read(partial(reads.find_deliveries, event_ids=event_ids))
    except Unavailable:
        return None
    return Log(newest[::-1], dispatched, deliveries)


def tell(facts: Sequence[Step], log: Log | None) -> Sequence[Step]:
    """Return the steps of a story: the facts, with their events, and how these were delivered."""
    missing = [*(log.events if log else ())]
    steps: list[Step] = []
    for fact in sorted(facts, key=_order):
        event = next((each for each in missing if each.name in fact.tells), None)
        if event is not None:
            missing.remove(event)
        steps.append(fact._replace(event=event))
    steps += [Step(event.created_at, event.name, event=event) for event in missing]
    steps += [_deliver(each) for each in (log.deliveries if log else ())]
    steps.sort(key=_order)
    if log is None:
        steps.append(Step(None, "The events database can't be read now", "bad"))
    elif any(fact.tells and fact.event is None and fact.at for fact in steps):
        text = "Some events are on their way to the log, or older than what it keeps"
        steps.append(Step(None, text, "waits"))
    return [
        step._replace(gap_s=_gap(before, step), is_new_day=before is step or _days(before, step))
        for before, step in zip([steps[0], *steps], steps, strict=False)
    ]


def _order(step: Step) -> tuple[bool, float]:
    return (step.at is None, step.at.timestamp() if step.at else 0.0)


def _gap(before: Step, step: Step) -> float | None:
    return (step.at - before.at).total_seconds() if step.at and before.at else None


def _days(before: Step, step: Step) -> bool:
    return step.at is None or before.at is None or step.at.date() != before.at.date()


def _deliver(delivery: "FindEventDeliveriesRow") -> Step:
    if delivery["status"] == "delivered":
        return Step(delivery["finished_at"], "Delivered", delivery=delivery)
    if delivery["status"] == "failed":
        return Step(delivery["finished_at"], "Delivery given up", "bad", delivery=delivery)
    text = "Delivery has failed, and is tried again" if delivery["attempts"] else "Delivery is due"
    return Step(delivery["created_at"], text, "waits", delivery=delivery)
