"""Metrics for Prometheus: each part defines its own with the functions here.

Every series has the service as its first label. A service exposes only its own series, so that
several services in one process are not counted twice. Where several processes serve one port, they
keep their counts in files, and any of them can add these up.
"""

import os
from bisect import bisect_left
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client import values as storage

# A worker's environment: the folder of all workers' files, and the slot that names its own.
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
SLOT: Final = "PROMETHEUS_MULTIPROC_SLOT"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

if SLOT in os.environ:
    # Not the process id: each worker that is replaced would leave its files behind.
    _slot = os.environ[SLOT]
    storage.ValueClass = storage.MultiProcessValue(lambda: _slot)  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
disable_created_metrics()  # type: ignore[no-untyped-call]


def counter(name: str, about: str, *labels: str) -> Counter:
    """Return a new counter with these labels besides the service."""
    return Counter(name, about, ("service", *labels), registry=REGISTRY)


def gauge(name: str, about: str, *labels: str) -> Gauge:
    """Return a new gauge with these labels; it shows the sum of all living processes."""
    return Gauge(name, about, ("service", *labels), registry=REGISTRY, multiprocess_mode="livesum")


def histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    """Return a new histogram with these labels; `buckets` are upper bounds."""
    return Histogram(name, about, ("service", *labels), registry=REGISTRY, buckets=buckets)


class Tally:
    """What is counted often in one series of a histogram: plain numbers, until they are asked for.

    Histogram.observe takes nine calls of functions and two locks, or two writes to a file if there
    are several workers. It has no public way to add many values at once. So this reaches into
    private names of prometheus_client.Histogram (`_upper_bounds`, `_buckets`, `_sum`), and
    prometheus-client is pinned to its minor version.
    """

    __slots__ = ("_bounds", "_counts", "_series", "_sum")

    def __init__(self, series: Histogram) -> None:
        self._series = series
        self._bounds = series._upper_bounds  # the last one is infinite
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        """Add to the series what was counted since the last time."""
        for place, count in enumerate(self._counts):
            if count:
                self._counts[place] = 0
                self._series._buckets[place].inc(count)
        added, self._sum = self._sum, 0.0
        self._series._sum.inc(added)


class Meter:
    """Counts for one service."""

    def __init__(self, service: str) -> None:
        self.service = service

    def count(self, what: Counter, amount: int = 1, *labels: str) -> None:
        """Add to a counter. Looking up labels is slow: not for thousands of calls a second."""
        what.labels(self.service, *labels).inc(amount)

    def time(self, what: Histogram, duration_s: float) -> None:
        """Add a duration to a histogram, as slowly as `count`."""
        what.labels(self.service).observe(duration_s)
