"""Which events are new, and how old they may be."""

from datetime import UTC, date, datetime, time
from uuid import UUID

import pytest

from rowlock.events.rules import Intake, NewEvent, decide, retention_start


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
    assert [decide([event(n) for n in numbers], intake) for numbers in deliveries] == counts
    assert [stored.event_id.int for stored in intake.accepted] == accepted


@pytest.mark.parametrize("together", [True, False])
def test_decide__same_id_with_other_content__first_wins(together: bool) -> None:
    first, second = event(1, "first"), event(1, "second")
    intake = Intake(known=set())
    for delivery in [[first, second]] if together else [[first], [second]]:
        decide(delivery, intake)
    assert intake.accepted == [first]


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
