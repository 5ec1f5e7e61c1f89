"""Samples: rates across restarts, quantiles, and what charts are given."""

from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.samples import Sample as Series

from rowlock.console.samples import (
    FAILED,
    OK,
    REQUESTS,
    Sample,
    add_up,
    columns,
    quantile,
    rates,
    summarise,
)

BUCKETS = {0.1: 50.0, 1.0: 90.0, inf: 100.0}


def series(name: str, value: float, **labels: str) -> Series:
    return Series(name, {"service": "commerce", **labels}, value)


def request(status: str, value: float, route: str = "/orders", service: str = "commerce") -> Series:
    return series(REQUESTS, value, service=service, route=route, status=status, le="+Inf")


def test_add_up__requests__by_outcome_without_the_machines_own() -> None:
    counts = add_up(
        [
            request("200", 5),
            request("201", 2),
            request("404", 3),
            request("503", 1),
            request("200", 100, route="/metrics"),
            request("200", 100, service="console"),
            series("rowlock_pool_waiting", 9),
        ]
    )
    assert counts == {
        (REQUESTS, OK, inf): 7,
        (REQUESTS, "refused", inf): 3,
        (REQUESTS, FAILED, inf): 1,
    }


def test_add_up__one_lane_of_two_services__summed() -> None:
    counts = add_up(
        [
            series("rowlock_batch_items_sum", 5, lane="find_key"),
            series("rowlock_batch_items_sum", 2, lane="find_key", service="events"),
            series("rowlock_batch_wait_seconds_bucket", 3, lane="find_key", le="0.01"),
        ]
    )
    assert counts == {("items", "find_key", 0.0): 7, ("wait", "find_key", 0.01): 3}


@pytest.mark.parametrize(
    ("before", "now", "rate"),
    [
        (10, 30, 10),
        (10, 10, 0),
        (30, 10, 5),  # the process has started again
        (None, 10, 5),  # a new series
    ],
)
def test_rates__counter__by_the_second_also_after_a_restart(
    before: float | None, now: float, rate: float
) -> None:
    key = "items", "pay_invoice", 0.0
    former = Sample(100.0, {} if before is None else {key: before})
    assert rates(former, Sample(102.0, {key: now})) == {key: rate}


@pytest.mark.parametrize(
    ("share", "buckets", "value"),
    [
        (0.5, BUCKETS, 0.1),
        (0.25, BUCKETS, 0.05),
        (0.7, BUCKETS, 0.55),
        (0.99, BUCKETS, 1.0),  # above the last bound that is finite
        (0.5, {0.1: 0.0, inf: 0.0}, None),
        (0.5, {}, None),
    ],
)
def test_quantile__buckets__interpolated(
    share: float, buckets: dict[float, float], value: float | None
) -> None:
    assert quantile(share, buckets) == (None if value is None else pytest.approx(value))


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=6),
    st.floats(0.01, 1),
)
@example([1.5, 1.5], 0.5)
def test_quantile__any_counts__within_the_bounds(counts: list[float], share: float) -> None:
    bounds = [0.1, 0.2, 0.5, 1.0, 2.0][: len(counts) - 1]
    total, buckets = 0.0, {}
    for bound, count in zip([*bounds, inf], counts, strict=True):
        total += count
        buckets[bound] = total
    found = quantile(share, buckets)
    assert (found is None) == (total <= 0)
    assert found is None or 0 <= found <= max(bounds, default=0)


def test_summarise__two_targets__rates_added_and_quantiles_of_both() -> None:
    one = {
        (REQUESTS, OK, 0.1): 10.0,
        (REQUESTS, OK, inf): 10.0,
        ("items", "pay_invoice", 0.0): 30.0,
        ("batches", "pay_invoice", 0.0): 2.0,
        ("took", "pay_invoice", 0.1): 2.0,
        ("took", "pay_invoice", inf): 2.0,
        ("items", "idle", 0.0): 0.0,
        ("batches", "idle", 0.0): 0.0,
    }
    other = {
        (REQUESTS, OK, 0.1): 0.0,
        (REQUESTS, OK, inf): 10.0,
        (REQUESTS, FAILED, inf): 5.0,
        ("items", "pay_invoice", 0.0): 10.0,
        ("batches", "pay_invoice", 0.0): 2.0,
    }
    point = summarise(1.0, [one, other])
    assert (point.requests, point.failed, point.failed_share) == (25.0, 5.0, 0.2)
    assert point.p99_s == 0.1
    assert set(point.lanes) == {"pay_invoice"}
    lane = point.lanes["pay_invoice"]
    assert (lane.items, lane.batch, lane.wait_s) == (40.0, 10.0, None)
    assert lane.took_s == pytest.approx(0.099)


def test_columns__a_lane_that_rests__a_gap_and_as_long_as_the_times() -> None:
    busy = summarise(1.0, [{("items", "x", 0.0): 12345.678, ("batches", "x", 0.0): 1.0}])
    resting = summarise(2.0, [])
    shown = columns([busy, resting])
    assert shown["at"] == [1.0, 2.0]
    assert shown["lanes"] == {"x": {"wait": [None] * 2, "took": [None] * 2, "batch": [12350, None]}}
    assert shown["requests"] == {"requests": [0, 0], "failed": [0, 0]}
