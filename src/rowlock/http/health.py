"""`/healthz`: the process is alive. `/readyz`: it can serve. `/metrics`: how it does."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING

import asyncpg
import structlog
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from rowlock.engine import migrations
from rowlock.engine.clusters import name_of
from rowlock.engine.database import Database
from rowlock.engine.epochs import Epochs, find_epochs
from rowlock.engine.probes import UNREACHABLE, Shared, Writes, describe_refusal
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Supervisor
from rowlock.errors import Unauthorized, Unavailable
from rowlock.http.access import METRICS_PATH, check_scraper
from rowlock.http.answers import head, reply
from rowlock.http.metrics import Labelled, Metrics, State
from rowlock.http.openapi.shapes import AnswerShape, choice, mapping, record, text
from rowlock.http.routes import SYSTEM, Routes, route
from rowlock.http.service import Backlog, Service
from rowlock.settings import Settings

if TYPE_CHECKING:
    from rowlock.engine.typed.database import ListAppliedMigrationsRow

logger = structlog.get_logger(__name__)

SAMPLE = 'rowlock_http_errors_total{error="order_not_found",service="commerce"} 7.0'
METRICS_HEAD = head({"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
HEALTH = record("Health", status=choice("alive"))
CHECKS = mapping(
    "Checks", {"database": "ok", "task event_relay": "ok", "shutdown": "ok"}, {"type": "string"}
)
READY = choice("ready", "not ready", title="ReadinessStatus")
READINESS = record("Readiness", status=READY, checks=CHECKS)
EPOCH = "epoch 2, timeline 1 → 2 at 2026-11-21 09:30:00, ids jumped from 100 to 1000101 (invoices)"
WRITE_READINESS = record(
    "WriteReadiness",
    status=READY,
    checks=CHECKS,
    epoch=text(EPOCH),
    optional=("epoch",),
)


class Readiness:
    """Whether a service can serve, and whether its commits succeed.

    Requests share a question to the database, which is asked once in `readiness_every_s` at most.
    """

    def __init__(
        self,
        service: Service,
        settings: Settings,
        database: Database,
        tasks: Supervisor,
        draining: asyncio.Event,
    ) -> None:
        self.service = service
        self.settings = settings
        self.database = database
        self.epochs = Epochs()  # as the last question to the database found them
        self._tasks = tasks
        self._draining = draining
        every_s = settings.http.readiness_every_s
        # A database that stops answering is reported before the next question is due.
        self._patience_s = min(settings.http.readiness_timeout_s, every_s / 2)
        self._reads = Shared(self._find_problem, every_s)
        self._writes = Writes(database, every_s, self._patience_s)

    async def serving(self) -> Mapping[str, str | None]:
        """Return the problem that each check of /readyz finds, by name; None if there is none."""
        away = self.database.outage.is_on
        return {
            "database": UNREACHABLE if away else await self._reads.answer(era=self.database.era),
            "shutdown": "the service is draining" if self._draining.is_set() else None,
        }

    async def writing(self) -> Mapping[str, str | None]:
        """Return the problem that /readyz/writes finds, by name; None if there is none."""
        return {"writes": await self._writes.problem()}

    def failing(self) -> Mapping[str, str]:
        """Return the problems of background tasks, which don't keep the service from serving."""
        return {f"task {name}": problem for name, problem in self._tasks.problems().items()}

    async def __aenter__(self) -> None:
        self._watching = asyncio.create_task(self._watch(), name="write_watch")

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait([self._watching])
        await self._reads.close()
        await self._writes.close()

    async def _watch(self) -> None:
        """Start tasks again as soon as commits succeed, not only after their pauses."""
        while True:
            await asyncio.sleep(self.settings.http.readiness_every_s)
            if self._tasks.is_stalled and await self._writes.problem() is None:
                self._tasks.hurry()

    async def _find_problem(self) -> str | None:
        asked = asyncio.get_running_loop().time()
        try:
            async with (
                asyncio.timeout(self._patience_s),
                self.database.connection() as connection,
            ):
                rows = await queries.database.list_applied_migrations(connection)
                missing = self._find_missing(rows)
                if not missing:
                    self.epochs = Epochs(await find_epochs(connection))
        except asyncpg.UndefinedTableError:
            missing = self._find_missing([])
        except asyncpg.InsufficientPrivilegeError:
            return "the database role lacks grants: see rowlock sql grants"
        except (Unavailable, TimeoutError):
            # Other requests may have every connection: if it answers them, it is alive.
            if self.database.answered > asked:
                return None
            return describe_refusal(self.database, asked) or UNREACHABLE
        except asyncpg.PostgresError as error:
            return f"the database fails: {type(error).__name__}"
        return f"migrations are missing: {', '.join(missing)}" if missing else None

    def _find_missing(self, rows: "Sequence[ListAppliedMigrationsRow]") -> list[str]:
        applied = {row["migration_id"] for row in rows}
        return [name for name in migrations.known(self.service.database) if name not in applied]


class HealthRoutes(Routes):
    """What operators ask every service."""

    tag = SYSTEM

    def __init__(self, readiness: Readiness, metrics: Metrics, backlog: Backlog | None) -> None:
        self._readiness = readiness
        self._backlog = backlog
        self._settings = readiness.settings
        self._metrics = metrics

    @route("GET", "/healthz", {200: HEALTH})
    async def get_health(self, _: web.Request) -> web.Response:
        """Tell whether the process is alive.

        The answer is 200 as long as the event loop turns.
        """
        return reply({"status": "alive"})

    @route(
        "GET",
        "/readyz",
        {200: READINESS, 503: AnswerShape(READINESS, headers={"Retry-After": text("1")})},
    )
    async def get_readiness(self, _: web.Request) -> web.Response:
        """Tell whether the process can serve.

        The answer is 200 if it can serve reads at least, else 503; the body says why not.
        """
        return self._tell(await self._readiness.serving())

    @route(
        "GET",
        "/readyz/writes",
        {
            200: WRITE_READINESS,
            503: AnswerShape(WRITE_READINESS, headers={"Retry-After": text("1")}),
        },
    )
    async def get_write_readiness(self, _: web.Request) -> web.Response:
        """Tell whether commits succeed.

        The answer is 200, or 503; the body says why they don't. It also names the last cut: from
        when on the database is on this timeline, and which ids it has skipped.
        """
        checks, _serving = await asyncio.gather(
            self._readiness.writing(), self._readiness.serving()
        )
        epoch = self._readiness.epochs.describe_last()
        return self._tell(checks, {} if epoch is None else {"epoch": epoch})

    def _tell(
        self, checks: Mapping[str, str | None], more: Mapping[str, str] | None = None
    ) -> web.Response:
        ready = not any(checks.values())
        told = {**checks, **self._readiness.failing()}
        return reply(
            {
                "status": "ready" if ready else "not ready",
                "checks": {name: problem or "ok" for name, problem in told.items()},
                **(more or {}),
            },
            status=200 if ready else 503,
            headers={} if ready else {"Retry-After": str(self._settings.http.retry_after_s)},
        )

    @route("GET", METRICS_PATH, {200: AnswerShape(text(SAMPLE), media="text/plain")}, Unauthorized)
    async def get_metrics(self, request: web.Request) -> web.Response:
        """Get the metrics, in Prometheus' text format."""
        service = self._readiness.service
        check_scraper(request, service.token(self._settings), self._settings)
        # One after the other, so that a scrape takes only one connection of the pool.
        state = {
            "ready": await self._passes(self._readiness.serving()),
            "writes": await self._passes(self._readiness.writing()),
            **self._find_primary(),
            **self._find_lag(),
            **self._find_epoch(),
            **await self._measure_backlog(),
        }
        self._metrics.flush()
        # In a thread, as formatting so much text would block the event loop.
        page = await asyncio.to_thread(self._metrics.expose, state)
        return web.Response(body=page, headers=METRICS_HEAD)

    async def _passes(self, checks: Awaitable[Mapping[str, str | None]]) -> bool:
        try:
            async with asyncio.timeout(self._settings.metrics.metrics_timeout_s):
                return not any((await checks).values())
        except TimeoutError:
            return False

    def _find_primary(self) -> State:
        primary = self._readiness.database.primary
        if primary is None:
            return {}
        labels = {"host": name_of(primary.host), "timeline": str(primary.timeline)}
        return {"primary": Labelled(primary.since, labels)}

    def _find_lag(self) -> State:
        standbys = self._readiness.database.standbys
        nearest = None if standbys is None else standbys.lag
        if nearest is None:
            return {}
        host, lag_s = nearest
        return {"standby_lag": Labelled(lag_s, {"host": name_of(host)})}

    def _find_epoch(self) -> State:
        epochs = self._readiness.epochs
        if not epochs.all:
            return {}
        return {"epoch": epochs.all[-1].number, "timeline": epochs.all[-1].timeline}

    async def _measure_backlog(self) -> State:
        """Return the service's backlog, or {"up": 0} if the database does not answer in time."""
        measure, settings = self._backlog, self._settings.metrics
        if measure is None:
            return {}
        try:
            async with (
                asyncio.timeout(settings.metrics_timeout_s),
                self._readiness.database.connection() as connection,
            ):
                row = await measure(connection, settings.metrics_rows)
        except (Unavailable, TimeoutError, asyncpg.PostgresError) as error:
            if not self._readiness.database.outage.is_suspected:
                logger.warning("backlog_not_measured", error=repr(error))
            return {"up": 0}
        return {"up": 1, **row}
