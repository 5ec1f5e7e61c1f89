"""Metrics of a service's requests, lanes and pool, and the page that shows them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from prometheus_client import Counter, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from rowlock.engine.database import Database
from rowlock.engine.lanes import Lane, Observer
from rowlock.engine.metrics import COUNTS, REGISTRY, SECONDS, SLOT, counter, gauge, histogram
from rowlock.http.turnstile import Turnstile
from rowlock.settings import Settings

UNMATCHED = "none"  # as route and method of unknown paths: clients may send anything

PROCESS = ProcessCollector(registry=None)

REQUEST_SECONDS = histogram(
    "rowlock_http_request_duration_seconds",
    "From the arrival of a request's headers to its answer; without streams.",
    SECONDS,
    "route",
    "method",
    "status",
)
HTTP_ERRORS = counter(
    "rowlock_http_errors_total",
    "Requests refused or failed, by the error's code; not those an idempotency key replays.",
    "error",
)
REQUESTS_WAITING = gauge("rowlock_requests_waiting", "Requests that wait to be let in.")
REQUESTS_REFUSED = counter(
    "rowlock_requests_refused_total", "Requests refused as they had waited too long to be let in."
)

LOG_LINES_DROPPED = counter(
    "rowlock_log_lines_dropped_total",
    "Log lines of the service's process that could not be written.",
)

BATCH_ITEMS = histogram("rowlock_batch_items", "Items of a batch.", COUNTS, "lane")
BATCH_WAIT = histogram(
    "rowlock_batch_wait_seconds", "What a batch's first item waited for it.", SECONDS, "lane"
)
BATCH_SECONDS = histogram(
    "rowlock_batch_duration_seconds",
    "A batch's transaction or read, from taking a connection to COMMIT, retries included.",
    SECONDS,
    "lane",
)
BATCH_RETRIES = counter(
    "rowlock_batch_retries_total", "Batches run again after a conflict with another.", "lane"
)
BATCH_SPLITS = counter("rowlock_batch_splits_total", "Failed batches run again in parts.", "lane")
LANE_WAITING = gauge("rowlock_lane_waiting_items", "Items that wait for the next batch.", "lane")
LANE_REFUSED = counter(
    "rowlock_lane_refused_items_total",
    "Items refused for lack of room or time, by the reason: queue_full, too_late, draining.",
    "lane",
    "reason",
)

POOL_LIMIT = gauge("rowlock_pool_connections_limit", "Connections that the pool may have.")
POOL_SIZE = gauge("rowlock_pool_connections", "Connections that the pool has.")
POOL_IN_USE = gauge("rowlock_pool_connections_in_use", "Connections of the pool that are in use.")
POOL_WAITING = gauge("rowlock_pool_waiting", "Callers that wait for a connection of the pool.")

# Gauges measured by each scrape: readiness, whether the `backlog` statement was answered, and its
# columns.
STATE = {
    "ready": ("rowlock_ready", "1 if /readyz answers 200, and soon enough for a scrape; else 0."),
    "writes": (
        "rowlock_writes_ready",
        "1 if /readyz/writes answers 200, and soon enough for a scrape; else 0.",
    ),
    "up": ("rowlock_backlog_up", "1 if what waits could be measured, else 0."),
    "orders_pending": ("rowlock_orders_pending", "Orders that wait to be settled."),
    "orders_age_s": (
        "rowlock_orders_oldest_pending_age_seconds",
        "Age of the oldest order that waits to be settled; 0 if none does.",
    ),
    "outbox_events": ("rowlock_outbox_events", "Events that wait to be delivered."),
    "outbox_age_s": (
        "rowlock_outbox_oldest_event_age_seconds",
        "Age of the oldest event that waits to be delivered; 0 if none does.",
    ),
    "dead_letters": ("rowlock_outbox_dead_letters", "Events refused and not yet replayed."),
    "relay_leader": (
        "rowlock_relay_leader_since_timestamp_seconds",
        "When the process that delivers events took the lead; absent if no process leads.",
    ),
}


class Labelled(NamedTuple):
    """A value of the state that has labels besides the service."""

    value: float
    labels: Mapping[str, str]


State = Mapping[str, float | Labelled]  # by the names in STATE


class _LaneMetrics(Observer):
    """Counts for one lane. Looks its series up once, as a look-up takes longer than counting."""

    def __init__(self, service: str, lane: str) -> None:
        self._items = BATCH_ITEMS.labels(service, lane)
        self._wait = BATCH_WAIT.labels(service, lane)
        self._duration = BATCH_SECONDS.labels(service, lane)
        self._retries = BATCH_RETRIES.labels(service, lane)
        self._splits = BATCH_SPLITS.labels(service, lane)
        self._labels = service, lane

    def ran(self, items: int, wait_s: float, duration_s: float) -> None:
        self._items.observe(items)
        self._wait.observe(wait_s)
        self._duration.observe(duration_s)

    def retried(self) -> None:
        self._retries.inc()

    def split(self) -> None:
        self._splits.inc()

    def refused(self, reason: str) -> None:
        LANE_REFUSED.labels(*self._labels, reason).inc()


class RouteMetrics:
    """Durations of the requests for one route.

    They are counted at the end of the event loop's turn, before a scrape can ask for them. Counting
    takes half as long if it is done for several in a row. Series are looked up once, as in
    _LaneMetrics.
    """

    def __init__(self, service: str, route: str, method: str | None = None) -> None:
        """Count requests by their methods, or all as `method`."""
        self._labels = service, route
        self._method = method
        self._timers: dict[tuple[str, int], Histogram] = {}
        self._answered: list[tuple[str, int, float]] = []  # in this turn

    def request(self, method: str, status: int, duration_s: float) -> None:
        """Count an answered request and its duration."""
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._count)
        self._answered.append((method, status, duration_s))

    def _count(self) -> None:
        answered, self._answered = self._answered, []
        for method, status, duration_s in answered:
            key = self._method or method, status
            timer = self._timers.get(key)
            if timer is None:
                timer = self._timers[key] = REQUEST_SECONDS.labels(*self._labels, *key)
            timer.observe(duration_s)


class Metrics:
    """The metrics of one service."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._errors: dict[str, Counter] = {}
        self._refused = REQUESTS_REFUSED.labels(service)

    def error(self, code: str) -> None:
        """Count an error sent to a client."""
        errors = self._errors.get(code)
        if errors is None:
            errors = self._errors[code] = HTTP_ERRORS.labels(self.service, code)
        errors.inc()

    def turned_away(self) -> None:
        """Count a request that was not let in."""
        self._refused.inc()

    @asynccontextmanager
    async def watch(
        self,
        turnstile: Turnstile,
        lanes: Iterable[Lane[Any, Any]],
        database: Database,
        settings: Settings,
    ) -> AsyncIterator[None]:
        """Count what `lanes` do, and sample all queues and the pool regularly."""
        waiting = REQUESTS_WAITING.labels(self.service)
        queues = {lane: LANE_WAITING.labels(self.service, lane.name) for lane in lanes}
        for lane in queues:
            lane.observer = _LaneMetrics(self.service, lane.name)
        POOL_LIMIT.labels(self.service).set(settings.database.pool_connections)
        pool = [gauge.labels(self.service) for gauge in (POOL_SIZE, POOL_IN_USE, POOL_WAITING)]

        async def look() -> None:
            while True:
                waiting.set(turnstile.waiting)
                for lane, length in queues.items():
                    length.set(lane.waiting)
                for series, value in zip(pool, database.pool_use, strict=True):
                    series.set(value)
                await asyncio.sleep(settings.metrics.metrics_sample_s)

        task = asyncio.create_task(look(), name="metrics")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def expose(self, state: State) -> bytes:
        """Return the page, with the values of `state` by their names in STATE."""
        return generate_latest(_Page(self.service, state))


class _Page(Collector):
    """All series of one service."""

    def __init__(self, service: str, state: State) -> None:
        self._service = service
        self._state = state

    def collect(self) -> Iterator[Metric]:
        source: Any = REGISTRY
        if SLOT in os.environ:
            source = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
        else:  # with several workers, it would be that of whichever answers
            yield from PROCESS.collect()
        for family in source.collect():
            family.samples = [
                sample for sample in family.samples if sample.labels["service"] == self._service
            ]
            if family.samples:
                yield family
        for name, value in self._state.items():
            number, labels = value if isinstance(value, Labelled) else (value, {})
            gauge = GaugeMetricFamily(*STATE[name], labels=("service", *labels))
            gauge.add_metric((self._service, *labels.values()), number)
            yield gauge


METRICS = web.AppKey("metrics", Metrics)
