"""`/healthz`: the process is alive. `/readyz`: it can do its work now. `/metrics`: how it does."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import asyncpg
import structlog
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from rowlock.engine import migrations
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Supervisor
from rowlock.errors import Unauthorized, Unavailable
from rowlock.http.access import METRICS_PATH, check_scraper
from rowlock.http.answers import reply
from rowlock.http.metrics import Metrics, State
from rowlock.http.openapi.shapes import AnswerShape, choice, record, text
from rowlock.http.routes import Routes, route
from rowlock.http.service import Service
from rowlock.settings import Settings

logger = structlog.get_logger(__name__)

SAMPLE = 'rowlock_http_errors_total{error="order_not_found",service="commerce"} 7.0'
HEALTH = record("Health", status=choice("alive"))
CHECKS = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "examples": [{"database": "ok", "task event_relay": "ok", "shutdown": "ok"}],
}
READINESS = record("Readiness", status=choice("ready", "not ready"), checks=CHECKS)


class Readiness(NamedTuple):
    """Whether a service can do its work now."""

    service: Service
    settings: Settings
    database: Database
    tasks: Supervisor
    draining: asyncio.Event

    async def checks(self) -> Mapping[str, str | None]:
        """Return the problem that each check finds, by name; None if there is none."""
        return {
            "database": await self._database_problem(),
            **{f"task {name}": problem for name, problem in self.tasks.problems().items()},
            "shutdown": "the service is draining" if self.draining.is_set() else None,
        }

    async def _database_problem(self) -> str | None:
        try:
            async with (
                asyncio.timeout(self.settings.http.readiness_timeout_s),
                self.database.connection() as connection,
            ):
                rows = await queries.database.list_applied_migrations(connection)
        except asyncpg.UndefinedTableError:
            rows = []
        except asyncpg.InsufficientPrivilegeError:
            return "the database role lacks grants: see rowlock sql grants"
        except (Unavailable, TimeoutError):
            return "the database can't be reached"
        applied = {row["migration_id"] for row in rows}
        missing = set(migrations.known(self.service.database)) - applied
        if missing:
            return f"migrations are missing: {', '.join(sorted(missing))}"
        return None


class HealthRoutes(Routes):
    """What operators ask every service."""

    tag = "system"

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._settings = readiness.settings
        self._metrics = metrics

    @route("GET", "/healthz", {200: HEALTH})
    async def get_health(self, _: web.Request) -> web.Response:
        """Answer 200 as long as the event loop turns."""
        return reply({"status": "alive"})

    @route(
        "GET",
        "/readyz",
        {200: READINESS, 503: AnswerShape(READINESS, headers={"Retry-After": text("1")})},
    )
    async def get_readiness(self, _: web.Request) -> web.Response:
        """Answer 200 if every check passes, else 503; the body says which does not."""
        checks = await self._readiness.checks()
        ready = not any(checks.values())
        return reply(
            {
                "status": "ready" if ready else "not ready",
                "checks": {name: problem or "ok" for name, problem in checks.items()},
            },
            status=200 if ready else 503,
            headers={} if ready else {"Retry-After": str(self._settings.http.retry_after_s)},
        )

    @route("GET", METRICS_PATH, {200: AnswerShape(text(SAMPLE), media="text/plain")}, Unauthorized)
    async def get_metrics(self, request: web.Request) -> web.Response:
        """Answer with the metrics, in Prometheus' text format."""
        service = self._readiness.service
        check_scraper(request, service.token(self._settings), self._settings)
        # One after the other, so that a scrape takes only one connection of the pool.
        state = {"ready": await self._is_ready(), **await self._measure_backlog()}
        # In a thread, as formatting so much text would block the event loop.
        page = await asyncio.to_thread(self._metrics.expose, state)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(self._settings.metrics.metrics_timeout_s):
                return not any((await self._readiness.checks()).values())
        except TimeoutError:
            return False

    async def _measure_backlog(self) -> State:
        """Return the service's backlog, or {"up": 0} if the database does not answer in time."""
        measure, settings = self._readiness.service.backlog, self._settings.metrics
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
