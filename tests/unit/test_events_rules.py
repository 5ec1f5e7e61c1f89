"""Which events are new, and how old they may be."""

from datetime import UTC, date, datetime, time
from uuid import UUID

import pytest

from rowlock.errors import EpochOutdated
from rowlock.events.rules import (
    Delivery,
    Intake,
    NewEvent,
    Sender,
    decide,
    latest_time,
    retention_start,
)


def event(number: int, name: str = "it.happened") -> NewEvent:
    return NewEvent(UUID(int=number), name, None, "{}", datetime(2026, 11, 21, tzinfo=UTC))


def midnight(day: tuple[int, int, int]) -> datetime:
    return datetime.combine(date(*day), time(), UTC)


@pytest.mark.parametrize(
    ("known", "deliveries", "counts", "accepted"),
    [
        ([], [[]], [(0, 0)], []),
        ([], [[1, 2, 3]], [(3, 0)], [1, 2, 3]),
        ([], [[3, 1, 2]], [(3, 0)], [3, 1, 2]),
        ([1], [[1, 2]], [(1, 1)], [2]),
        ([1, 2], [[1, 2]], [(0, 2)], []),
        ([], [[1, 1, 2, 1]], [(2, 2)], [1, 2]),
        ([], [[1, 2], [2, 3], [3, 1]], [(2, 0), (1, 1), (0, 2)], [1, 2, 3]),
        ([2], [[1], [], [2, 4]], [(1, 0), (0, 0), (1, 1)], [1, 4]),
    ],
)
def test_decide__known_and_new_ids__only_new_ones_in_order(
    known: list[int],
    deliveries: list[list[int]],
    counts: list[tuple[int, int]],
    accepted: list[int],
) -> None:
    intake = Intake(known={UUID(int=number) for number in known})
    decided = [decide(Delivery([event(n) for n in numbers]), intake) for numbers in deliveries]
    assert decided == counts
    assert [stored.event_id.int for stored in intake.accepted] == accepted


@pytest.mark.parametrize("together", [True, False])
def test_decide__same_id_with_other_content__first_wins(together: bool) -> None:
    first, second = event(1, "first"), event(1, "second")
    intake = Intake(known=set())
    for events in [[first, second]] if together else [[first], [second]]:
        decide(Delivery(events), intake)
    assert intake.accepted == [first]
    assert intake.repeated == [second]


@pytest.mark.parametrize(
    ("known", "epochs", "outdated"),
    [
        (None, [1], []),
        (None, [5, 4, 5, 6, 5], [1, 4]),
        (3, [3], []),
        (3, [4, 3], [1]),
        (3, [2, 4, 3, 4], [0, 2]),
    ],
)
def test_decide__epochs_of_a_source__those_below_the_highest_so_far_are_refused(
    known: int | None, epochs: list[int], outdated: list[int]
) -> None:
    source, other = UUID(int=1), UUID(int=2)
    intake = Intake(known=set(), epochs={other: 99} if known is None else {source: known})
    for at, epoch in enumerate(epochs):
        outcome = decide(Delivery([event(at)], Sender(source, epoch)), intake)
        assert isinstance(outcome, EpochOutdated) == (at in outdated)
        assert isinstance(decide(Delivery([event(100 + at)]), intake), tuple)  # it names none
    accepted = {stored.event_id.int for stored in intake.accepted}
    assert accepted.isdisjoint(outdated)
    assert len(accepted) == 2 * len(epochs) - len(outdated)


@pytest.mark.parametrize(
    ("now", "months", "start"),
    [
        ((2026, 11, 21), 1, (2026, 10, 1)),
        ((2026, 11, 30), 10, (2026, 1, 1)),
        ((2026, 11, 1), 11, (2025, 12, 1)),
        ((2026, 12, 31), 13, (2025, 11, 1)),
        ((2026, 1, 31), 12, (2025, 1, 1)),
        ((2026, 1, 31), 13, (2024, 12, 1)),
        ((2026, 1, 1), 12 * 2025, (1, 1, 1)),
        ((2026, 1, 1), 12 * 2025 + 1, (1, 1, 1)),
        ((2026, 1, 1), 999_999_999, (1, 1, 1)),
    ],
)
def test_retention_start__any_month__first_day_of_the_oldest_kept(
    now: tuple[int, int, int], months: int, start: tuple[int, int, int]
) -> None:
    assert retention_start(midnight(now), months) == midnight(start)


def test_latest_time__any_distance__no_overflow() -> None:
    now = midnight((2026, 11, 21))
    assert latest_time(now, 86_400) == midnight((2026, 11, 22))
    assert latest_time(now, 2.0**60).year == 9999
