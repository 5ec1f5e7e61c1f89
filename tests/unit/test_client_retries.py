"""The client's budget, pauses and Retry-After: pure, by a clock and a generator of the test."""

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.client import Budget, Policy, until_known
from rowlock.client.retries import read_retry_after

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def drained(budget: Budget) -> int:
    """Take all tokens; return how many there were."""
    taken = 0
    while budget.retry():
        taken += 1
    return taken


def test_budget__reserve__is_there_at_first_and_ends() -> None:
    budget = Budget(reserve=10, clock=Clock())
    assert drained(budget) == 10
    assert not budget.retry()


def test_budget__calls__add_their_part_and_never_more_than_the_reserve() -> None:
    budget = Budget(ratio=0.2, reserve=10, clock=Clock())
    drained(budget)
    for _ in range(4):
        budget.call()
    assert not budget.retry()
    budget.call()
    assert drained(budget) == 1
    for _ in range(1000):
        budget.call()
    assert drained(budget) == 10


def test_budget__time__lets_a_client_that_calls_seldom_retry() -> None:
    clock = Clock()
    budget = Budget(per_second=0.5, reserve=10, clock=clock)
    drained(budget)
    clock.now = 2.0
    assert drained(budget) == 1
    clock.now = 1e9
    assert drained(budget) == 10


def test_budget__endless_reserve__never_ends() -> None:
    budget = Budget(reserve=math.inf, clock=Clock())
    for _ in range(10_000):
        assert budget.retry()


@given(
    ratio=st.floats(0, 1),
    reserve=st.floats(0, 50),
    acts=st.lists(st.sampled_from(["call", "retry"]), max_size=200),
)
def test_budget__any_load__retries_stay_within_the_ratio_and_the_reserve(
    ratio: float, reserve: float, acts: list[str]
) -> None:
    budget = Budget(ratio, reserve=reserve, clock=Clock())
    calls = retries = 0
    for act in acts:
        if act == "call":
            budget.call()
            calls += 1
        else:
            retries += budget.retry()
        assert retries <= reserve + ratio * calls + 1e-9


@given(seed=st.integers(), attempt=st.integers(1, 10_000))
def test_pause__any_attempt__within_a_limit_that_doubles_up_to_the_longest(
    seed: int, attempt: int
) -> None:
    policy = Policy(first_pause_s=0.1, longest_pause_s=5)
    limit = min(5, 0.1 * 2 ** min(attempt - 1, 20))
    assert 0 <= policy.pause_s(attempt, None, random.Random(seed)) <= limit


def test_pause__many_clients__do_not_come_back_together() -> None:
    policy = Policy()
    pauses = {policy.pause_s(5, 1.0, random.Random(seed)) for seed in range(100)}
    assert len(pauses) == 100
    assert min(pauses) >= 1.0
    assert max(pauses) - min(pauses) > 1.0


def test_pause__policy_of_a_tester__ignores_what_the_service_asks() -> None:
    policy = until_known(60, 0.05)
    assert policy.deadline_s == 60
    assert all(policy.pause_s(n, 5.0, random.Random(n)) <= 0.05 for n in range(1, 50))


@pytest.mark.parametrize(
    "limit",
    [
        {"deadline_s": 0},
        {"deadline_s": -1.0},
        {"attempt_timeout_s": 0},
        {"connect_timeout_s": 0},
        {"attempts": 0},
    ],
)
def test_policy__limit_of_nothing__is_a_mistake(limit: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Policy(**limit)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("3", 3),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("³", None),
        ("Tue, 01 Jan 2030 12:00:05 GMT", 5),
        ("Tue, 01 Jan 2030 11:00:00 GMT", 0),
        ("Tue, 01 Jan 2030 12:00:05 -0000", 5),
        ("Tue, 01 Jan 99999999999 12:00:05 GMT", None),
        ("Tue, 01 Jan 2030 12:00:05 +99999999999999999", None),
    ],
)
def test_retry_after__texts__seconds_or_nothing(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, NOON) == seconds


def test_retry_after__date_without_a_time_given__by_this_machines_clock() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    found = read_retry_after(later.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    assert found is not None
    assert 3590 < found <= 3600
