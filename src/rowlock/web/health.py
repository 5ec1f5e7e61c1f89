"""`/healthz`: the process is alive. `/readyz`: it can do its work now. `/metrics`: how it does."""

import asyncio
from collections.abc import Mapping

import asyncpg
import structlog
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from rowlock import migrations
from rowlock.exceptions import Unauthorized, Unavailable
from rowlock.queries import queries
from rowlock.web.access import METRICS_PATH, check_scraper
from rowlock.web.docs import Answer, choice, describe, record, text
from rowlock.web.metrics import METRICS
from rowlock.web.replies import reply
from rowlock.web.service import DATABASE, DRAINING, SERVICE, SETTINGS, TASKS

ROUTES = web.RouteTableDef()

logger = structlog.get_logger("rowlock.metrics")

SAMPLE = 'rowlock_http_errors_total{error="order_not_found",service="commerce"} 7.0'
HEALTH = record("Health", status=choice("alive"))
CHECKS = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "examples": [{"database": "ok", "task event_relay": "ok", "shutdown": "ok"}],
}
READINESS = record("Readiness", status=choice("ready", "not ready"), checks=CHECKS)


@ROUTES.get("/healthz")
@describe({200: HEALTH})
async def get_health(_: web.Request) -> web.Response:
    """Answer 200 as long as the event loop turns."""
    return reply({"status": "alive"})


@ROUTES.get("/readyz")
@describe({200: READINESS, 503: Answer(READINESS, headers={"Retry-After": text("1")})})
async def get_readiness(request: web.Request) -> web.Response:
    """Answer 200 if every check passes, else 503; the body says which does not."""
    app = request.app
    checks = await _checks(app)
    ready = not any(checks.values())
    return reply(
        {
            "status": "ready" if ready else "not ready",
            "checks": {name: problem or "ok" for name, problem in checks.items()},
        },
        status=200 if ready else 503,
        headers={} if ready else {"Retry-After": str(app[SETTINGS].retry_after_s)},
    )


async def _checks(app: web.Application) -> Mapping[str, str | None]:
    """Return the problem that each check finds, by its name; None if all is well."""
    return {
        "database": await _database_problem(app),
        **{f"task {name}": problem for name, problem in app[TASKS].problems().items()},
        "shutdown": "the service is draining" if app[DRAINING].is_set() else None,
    }


async def _database_problem(app: web.Application) -> str | None:
    try:
        async with (
            asyncio.timeout(app[SETTINGS].readiness_timeout_s),
            app[DATABASE].connection() as connection,
        ):
            rows = await queries.database.list_applied_migrations(connection)
    except asyncpg.UndefinedTableError:
        rows = []
    except asyncpg.InsufficientPrivilegeError:
        return "the database role lacks grants: see rowlock sql grants"
    except (Unavailable, TimeoutError):
        return "the database can't be reached"
    missing = set(migrations.known(app[SERVICE].database)) - {row["migration_id"] for row in rows}
    if missing:
        return f"migrations are missing: {', '.join(sorted(missing))}"
    return None


@ROUTES.get(METRICS_PATH)
@describe({200: Answer(text(SAMPLE), media="text/plain")}, Unauthorized)
async def get_metrics(request: web.Request) -> web.Response:
    """Answer with the metrics, in Prometheus' text format."""
    check_scraper(request)
    # One after the other: a scrape should not take two connections of the pool.
    state = {"ready": await _is_ready(request.app), **await _measure_backlog(request.app)}
    # In a thread, as writing so much text would hold up everybody else.
    page = await asyncio.to_thread(request.app[METRICS].expose, state)
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def _is_ready(app: web.Application) -> bool:
    try:
        async with asyncio.timeout(app[SETTINGS].metrics_timeout_s):
            return not any((await _checks(app)).values())
    except TimeoutError:
        return False


async def _measure_backlog(app: web.Application) -> Mapping[str, float]:
    """Return what waits; only that it is not known if the database does not tell in time."""
    measure, settings = app[SERVICE].backlog, app[SETTINGS]
    if measure is None:
        return {}
    try:
        async with (
            asyncio.timeout(settings.metrics_timeout_s),
            app[DATABASE].connection() as connection,
        ):
            [row] = await measure(connection, counted=settings.metrics_rows)
    except (Unavailable, TimeoutError, asyncpg.PostgresError) as error:
        logger.warning("backlog_not_measured", error=repr(error))
        return {"up": 0}
    return {"up": 1, **row}
