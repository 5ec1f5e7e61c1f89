"""`/healthz`: the process is alive. `/readyz`: it can serve. `/metrics`: how it does."""

import asyncio
from collections.abc import Awaitable, Mapping

import asyncpg
import structlog
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from rowlock.engine import migrations
from rowlock.engine.database import Database
from rowlock.engine.probes import UNREACHABLE, Shared, Writes
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Supervisor
from rowlock.errors import Unauthorized, Unavailable
from rowlock.http.access import METRICS_PATH, check_scraper
from rowlock.http.answers import head, reply
from rowlock.http.metrics import Metrics, State
from rowlock.http.openapi.shapes import AnswerShape, choice, record, text
from rowlock.http.routes import SYSTEM, Routes, route
from rowlock.http.service import Backlog, Service
from rowlock.settings import Settings

logger = structlog.get_logger(__name__)

SAMPLE = 'rowlock_http_errors_total{error="order_not_found",service="commerce"} 7.0'
METRICS_HEAD = head({"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
HEALTH = record("Health", status=choice("alive"))
CHECKS = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "examples": [{"database": "ok", "task event_relay": "ok", "shutdown": "ok"}],
}
READINESS = record("Readiness", status=choice("ready", "not ready"), checks=CHECKS)


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
        self._tasks = tasks
        self._draining = draining
        every_s = settings.http.readiness_every_s
        # A database that stops answering is reported before the next question is due.
        self._patience_s = min(settings.http.readiness_timeout_s, every_s / 2)
        self._reads = Shared(self._find_problem, every_s)
        self._writes = Writes(database, every_s, self._patience_s)

    async def serving(self) -> Mapping[str, str | None]:
        """Return the problem that each check of /readyz finds, by name; None if there is none."""
        return {
            "database": await self._reads.answer(),
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
        """Start tasks again as soon as the database is back, not only after their pauses."""
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
        except asyncpg.UndefinedTableError:
            rows = []
        except asyncpg.InsufficientPrivilegeError:
            return "the database role lacks grants: see rowlock sql grants"
        except (Unavailable, TimeoutError):
            # Other requests may have every connection: if it answers them, it is alive.
            return None if self.database.answered > asked else UNREACHABLE
        except asyncpg.PostgresError as error:
            return f"the database fails: {type(error).__name__}"
        applied = {row["migration_id"] for row in rows}
        missing = set(migrations.known(self.service.database)) - applied
        if missing:
            return f"migrations are missing: {', '.join(sorted(missing))}"
        return None


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
        {200: READINESS, 503: AnswerShape(READINESS, headers={"Retry-After": text("1")})},
    )
    async def get_write_readiness(self, _: web.Request) -> web.Response:
        """Tell whether commits succeed.

        The answer is 200, or 503; the body says why they don't.
        """
        return self._tell(await self._readiness.writing())

    def _tell(self, checks: Mapping[str, str | None]) -> web.Response:
        ready = not any(checks.values())
        told = {**checks, **self._readiness.failing()}
        return reply(
            {
                "status": "ready" if ready else "not ready",
                "checks": {name: problem or "ok" for name, problem in told.items()},
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
            **await self._measure_backlog(),
        }
        # In a thread, as formatting so much text would block the event loop.
        page = await asyncio.to_thread(self._metrics.expose, state)
        return web.Response(body=page, headers=METRICS_HEAD)

    async def _passes(self, checks: Awaitable[Mapping[str, str | None]]) -> bool:
        try:
            async with asyncio.timeout(self._settings.metrics.metrics_timeout_s):
                return not any((await checks).values())
        except TimeoutError:
            return False

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
            logger.warning("backlog_not_measured", error=repr(error))
            return {"up": 0}
        return {"up": 1, **row}
