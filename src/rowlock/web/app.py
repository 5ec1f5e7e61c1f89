"""The application factory: one aiohttp application per service."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from rowlock.batching import Lane
from rowlock.database import Database
from rowlock.settings import Settings
from rowlock.tasks.supervisor import Supervisor
from rowlock.web import docs, health
from rowlock.web.access import bearer_token
from rowlock.web.auth0 import Tenant
from rowlock.web.boundary import boundary
from rowlock.web.docs import DOCUMENTS, Documents
from rowlock.web.metrics import METRICS, Metrics
from rowlock.web.service import DATABASE, DRAINING, HTTP, SERVICE, SETTINGS, TASKS, Service
from rowlock.web.turnstile import Turnstile


def create_app(service: Service, settings: Settings, database_url: str) -> web.Application:
    """Return the application of `service` on the database at `database_url`."""
    counts = Metrics(service.name)
    turnstile = Turnstile(settings.turn_requests, settings.turn_wait_s, counts.turned_away)
    middlewares = [boundary(settings, counts, turnstile)]
    token = service.token(settings)
    if token is not None:
        tenant = Tenant.of(settings) if service.takes_jwts else None
        middlewares.append(bearer_token(token, tenant, service.webhooks))
    middlewares += [docs.refuse_query]
    app = web.Application(middlewares=middlewares, client_max_size=service.body_bytes(settings))
    app[SERVICE] = service
    app[SETTINGS] = settings
    app[DRAINING] = asyncio.Event()
    app[METRICS] = counts
    app[TASKS] = Supervisor(service.tasks, settings)
    app[DOCUMENTS] = Documents(app)
    for feature in service.features:
        app.add_routes(feature.ROUTES)
    app.add_routes(health.ROUTES)
    app.add_routes(docs.ROUTES)

    async def open_http(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            app[HTTP] = session
            yield

    async def open_database(app: web.Application) -> AsyncIterator[None]:
        async with Database(database_url, settings, f"rowlock-{service.name}") as database:
            app[DATABASE] = database
            yield

    async def open_features(app: web.Application) -> AsyncIterator[None]:
        lanes = []
        for feature in service.features:
            for key, value in feature.state(app[DATABASE], settings).items():
                app[key] = value
                if isinstance(value, Lane):
                    lanes.append(value)
        async with counts.watch(turnstile, lanes, app[DATABASE], settings):
            yield
        for lane in lanes:
            await lane.close()

    async def run_tasks(app: web.Application) -> AsyncIterator[None]:
        app[TASKS].start(app)
        yield
        await app[TASKS].stop()

    async def drain(app: web.Application) -> None:
        app[DRAINING].set()

    # They unwind in reverse: no task outlives the batches, no batch the pool.
    app.cleanup_ctx.extend([open_http, open_database, open_features, run_tasks])
    app.on_shutdown.append(drain)
    return app
