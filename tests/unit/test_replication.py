"""How far a standby is behind, and whether it is a standby of this primary at all."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from rowlock.engine.replication import AHEAD, Facts, Follower, Mark, Progress

STARTED, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
FIRST, SECOND, THIRD = (
    Mark(UUID(int=1), 1),
    Mark(UUID(int=2), 2),
    Mark(UUID(int=3), 2),  # of another server that was promoted, too
)
UNPROVEN = "nothing proves yet that it follows timeline {}"


def primary(
    asked: float, position: int, timeline: int = 1, cluster: int = 7, epoch: Mark | None = FIRST
) -> Facts:
    return Facts(asked, False, cluster, 16_384, STARTED, timeline, position, epoch)


def standby(
    position: int,
    asked: float = 100,
    *,
    timeline: int | None = 1,
    cluster: int = 7,
    database: int = 16_384,
    in_recovery: bool = True,
    started: datetime = STARTED,
    epoch: Mark | None = None,
) -> Facts:
    return Facts(asked, in_recovery, cluster, database, started, timeline, position, epoch)


@pytest.fixture
def progress() -> Progress:
    """The primary had 10 at 1 s, 20 at 2 s and so on, up to 50 at 5 s; that matters for 10 s."""
    progress = Progress(10)
    for asked in range(1, 6):
        progress.note(primary(asked, 10 * asked))
    return progress


@pytest.mark.parametrize(
    ("position", "as_of"),
    [(0, None), (9, None), (10, 1), (19, 1), (20, 2), (49, 4), (50, 5), (1000, 5)],
)
def test_as_of__position__the_last_time_of_which_it_has_all(
    progress: Progress, position: int, as_of: float | None
) -> None:
    assert progress.as_of(position) == as_of


def test_as_of__nothing_known__unknown() -> None:
    assert Progress(10).as_of(1) is None


def test_as_of__idle_primary__the_last_question(progress: Progress) -> None:
    progress.note(primary(60, 50))
    assert progress.as_of(50) == 60
    assert progress.as_of(49) == 4


def test_as_of__long_ago__forgotten_but_for_the_last_that_bounds_it(progress: Progress) -> None:
    progress.note(primary(13.5, 60))  # what is kept begins at 3.5
    assert progress.as_of(30) == 3
    assert progress.as_of(29) is None


def test_as_of__primary_that_has_become_a_standby__its_answers_do_not_count(
    progress: Progress,
) -> None:
    progress.note(standby(70, asked=9))
    assert progress.as_of(70) == 5


@pytest.mark.parametrize("other", [primary(6, 60, timeline=2), primary(6, 60, cluster=8)])
def test_as_of__another_timeline_or_cluster__earlier_answers_do_not_count(
    progress: Progress, other: Facts
) -> None:
    progress.note(other)
    assert progress.as_of(59) is None
    assert progress.as_of(60) == 6


def test_problem__primary_unknown__named() -> None:
    assert Progress(10).problem(standby(50), None) == "the primary has not answered yet"


@pytest.mark.parametrize(
    "facts", [standby(50), standby(50, timeline=None, epoch=FIRST), standby(0), standby(51)]
)
def test_problem__a_standby_of_the_primary__none(progress: Progress, facts: Facts) -> None:
    assert progress.problem(facts, None) is None


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (standby(50, cluster=8), "it is a copy of another database"),
        (standby(50, database=16_385), "it is a copy of another database"),
        (standby(50, in_recovery=False), "it is a primary"),
        (standby(50, timeline=2), "it follows timeline 2, the primary is on 1"),
    ],
)
def test_problem__no_standby_of_the_primary__named(
    progress: Progress, facts: Facts, problem: str
) -> None:
    assert progress.problem(facts, None) == problem


@pytest.mark.parametrize(
    ("before", "is_ahead"),
    [
        (standby(50, asked=4), False),
        (standby(51, asked=4), True),
        (standby(51, asked=5), False),  # the primary may have had that by then
    ],
)
def test_problem__ahead_of_what_the_primary_had_later__another_branch(
    progress: Progress, before: Facts, is_ahead: bool
) -> None:
    problem = progress.problem(standby(51), before)
    assert (problem == "it has replayed what the primary does not have") is is_ahead


@pytest.mark.parametrize(
    ("recorded", "replayed", "is_proven"),
    [
        (SECOND, SECOND, True),
        (SECOND, FIRST, False),  # of the branch that was left, or it has not come so far
        (SECOND, THIRD, False),  # of a third branch
        (SECOND, None, False),
        (FIRST, FIRST, False),  # nothing was written on the new timeline yet
        (None, None, False),
    ],
)
def test_problem__timeline_unknown_after_a_promotion__proven_by_the_row_of_the_epoch(
    progress: Progress, recorded: Mark | None, replayed: Mark | None, is_proven: bool
) -> None:
    progress.note(primary(6, 60, timeline=2, epoch=recorded))
    problem = progress.problem(standby(70, timeline=None, epoch=replayed), None)
    assert problem == (None if is_proven else UNPROVEN.format(2))


def test_follower__ahead_once__not_used_until_it_is_restarted(progress: Progress) -> None:
    follower = Follower()
    assert follower.problem(standby(55, asked=5.5), progress) is None
    progress.note(primary(6, 50))
    assert follower.problem(standby(55, asked=6.5), progress) == AHEAD
    for asked in (7, 8, 9):  # the primary passes it
        progress.note(primary(asked, 10 * asked))
        assert follower.problem(standby(55, asked=asked + 0.5), progress) == AHEAD
    progress.note(primary(10, 54))  # a rewound standby had more
    for later in (10.5, 10.7):
        assert follower.problem(standby(54, asked=later, started=LATER), progress) is None


def test_follower__on_the_branch_that_was_left__never_used_however_far_the_primary_is(
    progress: Progress,
) -> None:
    """A former standby without a connection goes on with what it has, and its age seems small."""
    follower = Follower()
    for asked, position in [(6, 45), (7, 52), (8, 60), (9, 70)]:
        progress.note(primary(asked, position, timeline=2, epoch=SECOND))
        facts = standby(50, asked=asked + 0.5, timeline=None, epoch=FIRST)
        assert follower.problem(facts, progress) == UNPROVEN.format(2)
