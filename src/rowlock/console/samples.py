"""Samples of what processes have counted, and what two of them say about the time between.

All of it is pure. Counters are summed over the series that a chart does not tell apart; where a sum
is lower than before, the process has started again and counts from 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple, TypeAlias

from prometheus_client.samples import Sample as Series

from rowlock.settings.names import ServiceName

REQUESTS = "rowlock_http_request_duration_seconds_bucket"
OK, REFUSED, FAILED = "ok", "refused", "failed"  # requests: by the class of their status
# Of each lane: its items and batches, how long these waited and took, and what was refused.
LANES: Mapping[str, str] = {
    "rowlock_batch_items_sum": "items",
    "rowlock_batch_items_count": "batches",
    "rowlock_batch_wait_seconds_bucket": "wait",
    "rowlock_batch_duration_seconds_bucket": "took",
    "rowlock_lane_refused_items_total": "refused",
}
# What of /metrics is read at all: to parse the whole text takes ten times as long.
WANTED = (REQUESTS, *LANES)
# Asked by machines, mostly by this one.
SYSTEM = frozenset({"/healthz", "/readyz", "/readyz/writes", "/metrics"})

# What is counted; of which outcome or lane; a bucket's upper bound, else 0.
Key: TypeAlias = tuple[str, str, float]


class Sample(NamedTuple):
    """What a target had counted at a time."""

    at: float  # seconds, by any clock that does not jump
    counts: Mapping[Key, float]


class Lane(NamedTuple):
    """What a lane did between two samples."""

    items: float  # a second
    batch: float | None  # items of a batch, on average; None if there was none
    wait_s: float | None  # what 99 % of the batches waited for at most
    took_s: float | None  # how long 99 % of them took at most
    refused: float  # items a second


class Point(NamedTuple):
    """What happened between two samples, on all targets."""

    at: float  # seconds since 1970
    requests: float  # a second, the others too
    refused: float  # answered by a 4xx
    failed: float  # answered by a 5xx
    p50_s: float | None  # None if there was no request
    p99_s: float | None
    lanes: Mapping[str, Lane]  # those that did something

    @property
    def failed_share(self) -> float:
        """The share of requests that failed, from 0 to 1."""
        return self.failed / self.requests if self.requests else 0.0


def add_up(series: Iterable[Series]) -> Mapping[Key, float]:
    """Return the sums of the counters that charts are made of, without requests to consoles."""
    counts: dict[Key, float] = {}
    for each in series:
        labels = each.labels
        if each.name == REQUESTS:
            if labels["service"] == ServiceName.CONSOLE or labels["route"] in SYSTEM:
                continue
            key = REQUESTS, _outcome(labels["status"]), float(labels["le"])
        elif each.name in LANES:
            key = LANES[each.name], labels["lane"], float(labels.get("le", 0))
        else:
            continue
        counts[key] = counts.get(key, 0.0) + each.value
    return counts


def _outcome(status: str) -> str:
    return FAILED if status >= "500" else REFUSED if status >= "400" else OK


def rates(before: Sample, now: Sample) -> Mapping[Key, float]:
    """Return how fast each counter rose, a second."""
    elapsed_s = now.at - before.at
    found = {}
    for key, count in now.counts.items():
        former = before.counts.get(key, 0.0)
        found[key] = (count - former if count >= former else count) / elapsed_s
    return found


def summarise(at: float, of_targets: Iterable[Mapping[Key, float]]) -> Point:
    """Return what happened by the rates of all targets together."""
    total: dict[Key, float] = {}
    for each in of_targets:
        for key, rate in each.items():
            total[key] = total.get(key, 0.0) + rate
    outcomes = {
        outcome: total.get((REQUESTS, outcome, inf), 0.0) for outcome in (OK, REFUSED, FAILED)
    }
    requests: dict[float, float] = {}
    buckets: dict[tuple[str, str], dict[float, float]] = {}
    for (what, whose, bound), rate in total.items():
        if what == REQUESTS:
            requests[bound] = requests.get(bound, 0.0) + rate
        elif bound:
            buckets.setdefault((what, whose), {})[bound] = rate
    return Point(
        at,
        sum(outcomes.values()),
        outcomes[REFUSED],
        outcomes[FAILED],
        quantile(0.5, requests),
        quantile(0.99, requests),
        dict(_lanes(total, buckets)),
    )


def _lanes(
    total: Mapping[Key, float], buckets: Mapping[tuple[str, str], Mapping[float, float]]
) -> Iterable[tuple[str, Lane]]:
    for name in sorted({whose for what, whose, _ in total if what != REQUESTS}):
        items, batches, refused = (
            total.get((what, name, 0.0), 0.0) for what in ("items", "batches", "refused")
        )
        if not (batches or refused):
            continue
        yield (
            name,
            Lane(
                items,
                items / batches if batches else None,
                quantile(0.99, buckets.get(("wait", name), {})),
                quantile(0.99, buckets.get(("took", name), {})),
                refused,
            ),
        )


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """Return the value that `share` of what was measured is below; None if nothing was measured.

    `buckets` count what is at or below their bounds. Within a bucket, values are taken to be spread
    evenly; above the last bound that is finite, they are taken to be that bound.
    """
    counts = sorted(buckets.items())
    if not counts or counts[-1][1] <= 0:
        return None
    wanted = share * counts[-1][1]
    for (lower, below), (upper, within) in pairwise([(0.0, 0.0), *counts]):
        if within >= wanted and within > below:
            if upper == inf:
                return lower
            inside = lower + (upper - lower) * (wanted - below) / (within - below)
            return min(inside, upper)  # rounded, it may be a hair above
    raise AssertionError


def columns(points: Sequence[Point]) -> Mapping[str, Any]:
    """Return points as charts take them: a list for each line, as long as that of the times.

    Durations are in milliseconds. Numbers have four digits: charts can't show more.
    """
    names = sorted({name for point in points for name in point.lanes})
    return {
        "at": [round(point.at, 1) for point in points],
        "requests": {
            "requests": [_short(point.requests) for point in points],
            "failed": [_short(point.failed) for point in points],
        },
        "latency": {
            "p50": [_milli(point.p50_s) for point in points],
            "p99": [_milli(point.p99_s) for point in points],
        },
        "lanes": {
            name: _lane_columns([point.lanes.get(name) for point in points]) for name in names
        },
    }


def _lane_columns(lanes: Sequence[Lane | None]) -> Mapping[str, Sequence[float | None]]:
    return {
        "wait": [None if lane is None else _milli(lane.wait_s) for lane in lanes],
        "took": [None if lane is None else _milli(lane.took_s) for lane in lanes],
        "batch": [None if lane is None else _short(lane.batch) for lane in lanes],
    }


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else _short(seconds * 1000)


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")
