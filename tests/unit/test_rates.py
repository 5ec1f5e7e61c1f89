"""The buckets of clients: bursts, how they fill up again, and what is remembered."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock.http.buckets import SECOND_NS, Buckets
from rowlock.http.rates import headers

RATES = [1, 2, 3, 7, 50, 999, 30_000]
NOW = 10**15  # a machine that has run for eleven days


def taken(buckets: Buckets, client: str, rate: int, now_ns: int) -> int:
    """How many requests the client can send at once."""
    number = 0
    while buckets.take(client, rate, now_ns):
        number += 1
    return number


@pytest.mark.parametrize("rate", RATES)
def test_take__all_at_once__a_second_s_worth_and_no_more(rate: int) -> None:
    assert taken(Buckets(), "a", rate, NOW) == rate


@pytest.mark.parametrize("rate", RATES)
def test_take__after_a_burst__one_more_for_each_share_of_a_second(rate: int) -> None:
    buckets, share = Buckets(), SECOND_NS // rate
    taken(buckets, "a", rate, NOW)
    assert not buckets.take("a", rate, NOW + share - 1)
    assert taken(buckets, "a", rate, NOW + share) == 1
    assert taken(buckets, "a", rate, NOW + share + SECOND_NS) == rate


def test_take__refused__costs_nothing() -> None:
    buckets = Buckets()
    taken(buckets, "a", 10, NOW)
    assert not any(buckets.take("a", 10, NOW) for _ in range(100))
    assert buckets.take("a", 10, NOW + SECOND_NS // 10)


def test_take__steadily_at_the_rate__never_refused() -> None:
    buckets = Buckets()
    assert all(buckets.take("a", 40, NOW + n * SECOND_NS // 40) for n in range(1000))


def test_take__another_client__has_a_bucket_of_its_own() -> None:
    buckets = Buckets()
    assert [taken(buckets, client, 5, NOW) for client in "abc"] == [5, 5, 5]


def test_take__highest_rate__within_a_thousandth() -> None:
    buckets, rate = Buckets(), 999_999
    served = sum(buckets.take("a", rate, NOW + step * 500) for step in range(2_000_000))
    assert rate <= served <= 2.001 * rate  # a burst, and what came in a second


def test_give_back__one_of_a_full_burst__can_be_taken_again() -> None:
    buckets = Buckets()
    taken(buckets, "a", 7, NOW)
    buckets.give_back("a", 7)
    assert taken(buckets, "a", 7, NOW) == 1


def test_give_back__client_forgotten_meanwhile__no_more_than_full() -> None:
    buckets = Buckets(1)
    assert buckets.take("a", 3, NOW)
    assert buckets.take("b", 3, NOW)
    buckets.give_back("a", 3)
    assert taken(buckets, "a", 3, NOW) == 3


class Model:
    """A bucket as one thinks of it: so many tokens, and more of them as time goes by."""

    def __init__(self, rate: int) -> None:
        self.rate, self.tokens, self.at = rate, Fraction(rate), 0

    def take(self, now_ns: int) -> bool:
        gained = Fraction(now_ns - self.at, SECOND_NS // self.rate)
        self.tokens = min(Fraction(self.rate), self.tokens + gained)
        self.at = now_ns
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


# Steps of no time, of a share of a second, and of more than fills a bucket.
STEPS = st.one_of(st.just(0), st.integers(0, 10**9 // 7), st.integers(0, 3 * 10**9))


@given(st.lists(st.tuples(st.sampled_from("abcd"), STEPS), max_size=200))
def test_take__any_clients_at_any_times__as_buckets_of_tokens_that_are_never_forgotten(
    requests: list[tuple[str, int]],
) -> None:
    rates = {"a": 1, "b": 2, "c": 7, "d": 3}
    models = {client: Model(rate) for client, rate in rates.items()}
    buckets, now_ns = Buckets(), 0
    for client, step in requests:
        now_ns += step
        assert buckets.take(client, rates[client], now_ns) == models[client].take(now_ns)


@given(st.lists(st.tuples(st.integers(0, 9), STEPS), max_size=200), st.integers(1, 5))
def test_remembered__any_clients_at_any_times__never_more_than_may_be(
    requests: list[tuple[int, int]], most: int
) -> None:
    buckets, now_ns = Buckets(most), 0
    for client, step in requests:
        now_ns += step
        buckets.take(str(client), 4, now_ns)
        assert len(buckets) <= most


def test_remembered__one_too_many__the_one_served_longest_ago_is_forgotten() -> None:
    buckets = Buckets(2)
    assert buckets.take("a", 4, NOW)
    assert [taken(buckets, client, 4, NOW) for client in "ba"] == [4, 3]
    assert buckets.take("c", 4, NOW)
    assert not buckets.take("a", 4, NOW)
    assert taken(buckets, "b", 4, NOW) == 4


def test_remembered__idle_for_a_second__forgotten_little_by_little() -> None:
    buckets = Buckets()
    for client in range(1000):
        buckets.take(str(client), 5, NOW)
    assert len(buckets) == 1000
    for number in range(1, 500):
        buckets.take("new", 1000, NOW + SECOND_NS)
        assert len(buckets) == 1001 - 2 * number
    for _ in range(2):
        buckets.take("new", 1000, NOW + SECOND_NS)
    assert len(buckets) == 1


def test_headers__any_rate__its_policy_and_when_to_come_again() -> None:
    assert headers(50) == {
        "Retry-After": "1",
        "RateLimit-Policy": '"client";q=50;w=1',
        "RateLimit": '"client";r=0;t=1',
    }
