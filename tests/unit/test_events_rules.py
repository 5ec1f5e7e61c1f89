"""Which events are new, and how old they may be."""

from datetime import UTC, date, datetime, time
from uuid import UUID

import pytest

from rowlock.events.rules import (
    Cut,
    Delivery,
    End,
    Intake,
    LogState,
    NewEvent,
    Sender,
    Source,
    Unknown,
    decide,
    find_unknown,
    latest_time,
    retention_start,
)
from rowlock.rejections import EpochOutdated, LogMoved


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
    sources = {other: Source(99, None)} if known is None else {source: Source(known, None)}
    intake = Intake(known=set(), sources=sources)
    for at, epoch in enumerate(epochs):
        outcome = decide(Delivery([event(at)], Sender(source, epoch)), intake)
        assert isinstance(outcome, EpochOutdated) == (at in outdated)
        assert isinstance(decide(Delivery([event(100 + at)]), intake), tuple)  # it names none
    accepted = {stored.event_id.int for stored in intake.accepted}
    assert accepted.isdisjoint(outdated)
    assert len(accepted) == 2 * len(epochs) - len(outdated)


A, B, C = "7/1", "8/2", "9/3"


@pytest.mark.parametrize(
    ("known", "said", "sent", "outcome", "left"),
    [
        # what the log knows, what the sender says of it (its log and mark), the mark that it sends
        (None, None, None, "stored", None),
        (None, None, A, "stored", A),
        (B, None, None, "stored", B),  # release 0.2.0
        (B, None, C, "stored", C),
        (B, ("log", B), C, "stored", C),
        (B, ("log", B), A, "stored", A),  # it delivers again
        (B, ("log", B), None, "stored", B),  # out of turn
        (None, ("log", None), A, "stored", A),
        (A, ("log", B), C, "moved", A),  # restored
        (C, ("log", B), C, "moved", C),  # an answer was lost
        (None, ("log", B), C, "moved", None),
        (B, ("log", None), C, "moved", B),
        (B, ("another", B), C, "moved", B),
        (None, ("another", None), C, "moved", None),
    ],
)
def test_decide__sender_knows_a_log__only_events_for_that_state_are_stored(
    known: str | None,
    said: tuple[str, str | None] | None,
    sent: str | None,
    outcome: str,
    left: str | None,
) -> None:
    source = UUID(int=1)
    intake = Intake(known=set(), log="log", sources={source: Source(3, known)} if known else {})
    expected = LogState(*said) if said is not None else None
    decided = decide(Delivery([event(1)], Sender(source, 3, sent, expected)), intake)
    assert isinstance(decided, LogMoved) == (outcome == "moved")
    assert len(intake.accepted) == (outcome == "stored")
    assert intake.sources[source] == Source(3, left)
    if isinstance(decided, LogMoved):
        assert decided.details == ({"log": "log", "mark": left} if left else {"log": "log"})


def test_decide__replaced_leader_knows_another_log__is_told_that_it_is_replaced() -> None:
    source = UUID(int=1)
    intake = Intake(known=set(), log="log", sources={source: Source(3, A)})
    sender = Sender(source, 2, C, LogState("another", B))
    assert isinstance(decide(Delivery([event(1)], sender), intake), EpochOutdated)
    assert intake.sources == {source: Source(3, A)}


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


ONE = [Cut(100, 1_000_101)]
TWO = [*ONE, Cut(1_000_150, 2_000_160)]
# A restored copy lacked all that the former epoch had stored.
NESTED = [*ONE, Cut(100, 2_000_101)]


@pytest.mark.parametrize(
    ("cuts", "end", "place", "unknown"),
    [
        ([], None, 7, None),
        ([], 7, 7, None),
        ([], 7, 8, Unknown(7, None)),
        ([], 0, 1, Unknown(0, None)),
        (ONE, None, 0, None),
        (ONE, None, 100, None),
        (ONE, None, 101, Unknown(100, 1_000_101)),
        (ONE, None, 1_000_100, Unknown(100, 1_000_101)),
        (ONE, None, 1_000_101, None),
        (ONE, 1_000_101, 1_000_102, Unknown(1_000_101, None)),
        (ONE, 100, 118, Unknown(100, 1_000_101)),  # nothing was stored since: it will be above
        (TWO, None, 1_000_150, None),
        (TWO, None, 1_000_151, Unknown(1_000_150, 2_000_160)),
        (TWO, 2_000_170, 2_000_170, None),
        (NESTED, None, 1_000_120, Unknown(100, 2_000_101)),
        (NESTED, None, 101, Unknown(100, 2_000_101)),
        (NESTED, None, 2_000_101, None),
    ],
)
def test_place__in_a_cut_or_beyond_the_end__unknown(
    cuts: list[Cut], end: int | None, place: int, unknown: Unknown | None
) -> None:
    at = None if end is None else End(end, end)
    assert find_unknown(place, [*reversed(cuts)], at) == unknown


@pytest.mark.parametrize(("place", "unknown"), [(3, None), (100, None), (101, Unknown(0, None))])
def test_place__retention_has_emptied_the_log__known_up_to_what_was_drawn(
    place: int, unknown: Unknown | None
) -> None:
    assert find_unknown(place, [], End(0, 100)) == unknown
