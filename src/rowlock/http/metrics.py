"""Metrics of a service's requests, lanes and pool, and the page that shows them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
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
from rowlock.engine.metrics import (
    COUNTS,
    REGISTRY,
    SECONDS,
    SLOT,
    Tally,
    counter,
    gauge,
    histogram,
)
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

LIST_READS = counter(
    "rowlock_list_reads_total",
    "Reads of lists where there are standbys, by the server that was read from, and why.",
    "target",
    "reason",
)

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
    "kept_events": (
        "rowlock_outbox_kept_events",
        "Delivered events that stay in the outbox for a while.",
    ),
    "dead_letters": ("rowlock_outbox_dead_letters", "Events refused and not yet replayed."),
    "losses": (
        "rowlock_outbox_losses",
        "How often the events service has lost more than was kept, and no operator accepts it.",
    ),
    "relay_leader": (
        "rowlock_relay_leader_since_timestamp_seconds",
        "When the process that delivers events took the lead; absent if no process leads.",
    ),
    "subscriptions_active": ("rowlock_subscriptions_active", "Subscriptions that are active."),
    "subscriptions_failing": (
        "rowlock_subscriptions_failing",
        "Active subscriptions whose last attempt failed.",
    ),
    "subscriptions_disabled": (
        "rowlock_subscriptions_disabled",
        "Subscriptions that are disabled or have ended.",
    ),
    "webhooks_pending": ("rowlock_webhooks_pending", "Deliveries that wait to be tried again."),
    "webhooks_lag": (
        "rowlock_webhooks_lag_events",
        "How many places the log is ahead of what is dispatched; 0 without subscriptions.",
    ),
    "consumer_lag_events": (
        "rowlock_consumer_lag_events",
        "About how many events a consumer has not acknowledged.",
    ),
    "consumer_lag_s": (
        "rowlock_consumer_lag_seconds",
        "Age of the oldest event that a consumer has not acknowledged; 0 if there is none.",
    ),
    "primary": (
        "rowlock_database_primary_since_timestamp_seconds",
        "When the primary among several hosts was found where it is; absent if there is none.",
    ),
    "standby_lag": (
        "rowlock_standby_lag_seconds",
        "How far the standby that lists are read from is behind, at most; absent if there is none.",
    ),
    "epoch": (
        "rowlock_cluster_epoch",
        "The last epoch of the cluster: it rises where something may have been lost.",
    ),
    "timeline": ("rowlock_cluster_timeline", "The timeline of the primary in that epoch."),
}


class Labelled(NamedTuple):
    """A value of the state that has labels besides the service."""

    value: float
    labels: Mapping[str, str]


# By the names in STATE; several values of a name have labels of the same names.
State = Mapping[str, "float | Labelled | Sequence[Labelled]"]


class _LaneMetrics(Observer):
    """Counts for one lane. Looks its series up once, as a look-up takes longer than counting."""

    def __init__(self, metrics: "Metrics", lane: str) -> None:
        self._labels = metrics.service, lane
        self._items = metrics.tally(BATCH_ITEMS, lane)
        self._wait = metrics.tally(BATCH_WAIT, lane)
        self._duration = metrics.tally(BATCH_SECONDS, lane)
        self._retries = BATCH_RETRIES.labels(*self._labels)
        self._splits = BATCH_SPLITS.labels(*self._labels)

    def ran(self, items: int, wait_s: float, duration_s: float) -> None:
        self._items.add(items)
        self._wait.add(wait_s)
        self._duration.add(duration_s)

    def retried(self) -> None:
        self._retries.inc()

    def split(self) -> None:
        self._splits.inc()

    def refused(self, reason: str) -> None:
        LANE_REFUSED.labels(*self._labels, reason).inc()


class RouteMetrics:
    """Durations of the requests for one route. Series are looked up once, as in _LaneMetrics."""

    def __init__(self, metrics: "Metrics", route: str, method: str | None = None) -> None:
        """Count requests by their methods, or all as `method`."""
        self._metrics = metrics
        self._route = route
        self._method = method
        self._tallies: dict[tuple[str, int], Tally] = {}

    def request(self, method: str, status: int, duration_s: float) -> None:
        """Count an answered request and its duration."""
        key = self._method or method, status
        try:
            tally = self._tallies[key]
        except KeyError:
            tally = self._metrics.tally(REQUEST_SECONDS, self._route, key[0], str(status))
            self._tallies[key] = tally
        tally.add(duration_s)


class Metrics:
    """The metrics of one service."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._tallies: list[Tally] = []
        self._errors: dict[str, Counter] = {}
        self._refused = REQUESTS_REFUSED.labels(service)

    def tally(self, what: Histogram, *labels: str) -> Tally:
        """Return a tally of the service's series of a histogram with these labels."""
        tally = Tally(what.labels(self.service, *labels))
        self._tallies.append(tally)
        return tally

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
        """Count what `lanes` do, and sample all queues and the pool regularly.

        As often, what was counted here is shown to other workers, any of which may be asked.
        """
        waiting = REQUESTS_WAITING.labels(self.service)
        queues = {lane: LANE_WAITING.labels(self.service, lane.name) for lane in lanes}
        for lane in queues:
            lane.observer = _LaneMetrics(self, lane.name)
        POOL_LIMIT.labels(self.service).set(settings.database.pool_connections)
        pool = [gauge.labels(self.service) for gauge in (POOL_SIZE, POOL_IN_USE, POOL_WAITING)]

        async def look() -> None:
            while True:
                waiting.set(turnstile.waiting)
                for lane, length in queues.items():
                    length.set(lane.waiting)
                for series, value in zip(pool, database.pool_use, strict=True):
                    series.set(value)
                self._count_reads(database)
                self.flush()
                await asyncio.sleep(settings.metrics.metrics_sample_s)

        task = asyncio.create_task(look(), name="metrics")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.flush()

    def _count_reads(self, database: Database) -> None:
        if database.standbys is None:
            return
        for labels, count in database.standbys.reads.items():
            LIST_READS.labels(self.service, *labels).inc(count)
        database.standbys.reads.clear()

    def flush(self) -> None:
        """Add what was counted to what is shown. Only for the loop's thread, which counts."""
        for tally in self._tallies:
            tally.flush()

    def expose(self, state: State) -> bytes:
        """Return the page, as of the last `flush`, in any thread.

        `state` has values by their names in STATE.
        """
        return generate_latest(_Page(self.service, state))


def collect() -> Iterable[Metric]:
    """Return all series of all services here: of this process, or of all workers together.

    To be called in a thread: workers keep their counts in files.
    """
    source: Any = REGISTRY
    if SLOT in os.environ:
        source = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
    families: Iterable[Metric] = source.collect()
    return families


class _Page(Collector):
    """All series of one service."""

    def __init__(self, service: str, state: State) -> None:
        self._service = service
        self._state = state

    def collect(self) -> Iterator[Metric]:
        if SLOT not in os.environ:  # with several workers, it would be that of whichever answers
            yield from PROCESS.collect()
        for family in collect():
            family.samples = [
                sample for sample in family.samples if sample.labels["service"] == self._service
            ]
            if family.samples:
                yield family
        for name, value in self._state.items():
            if isinstance(value, (int, float)):
                values: Sequence[Labelled] = (Labelled(value, {}),)
            else:
                values = (value,) if isinstance(value, Labelled) else value
            if values:
                gauge = GaugeMetricFamily(*STATE[name], labels=("service", *values[0].labels))
                for number, labels in values:
                    gauge.add_metric((self._service, *labels.values()), number)
                yield gauge


METRICS = web.AppKey("metrics", Metrics)
