"""Metrics for Prometheus: each part defines its own with the functions here.

Every series has the service as its first label. A service exposes only its own series, so that
several services in one process are not counted twice. Where several processes serve one port, they
keep their counts in files, and any of them can add these up.
"""

import os
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
