"""Which events are new."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from rowlock.events.rules import Intake, NewEvent, decide


def event(number: int, name: str = "it.happened") -> NewEvent:
    return NewEvent(UUID(int=number), name, None, "{}", datetime(2026, 11, 21, tzinfo=UTC))


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
def test_decide__known_and_new_ids__only_new_ones_in_order(known, deliveries, counts, accepted):
    intake = Intake(known={UUID(int=number) for number in known})
    assert [decide([event(n) for n in numbers], intake) for numbers in deliveries] == counts
    assert [stored.event_id.int for stored in intake.accepted] == accepted


@pytest.mark.parametrize("together", [True, False])
def test_decide__same_id_with_other_content__first_wins(together):
    first, second = event(1, "first"), event(1, "second")
    intake = Intake(known=set())
    for delivery in [[first, second]] if together else [[first], [second]]:
        decide(delivery, intake)
    assert intake.accepted == [first]
