"""The application factory: one aiohttp application per service."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator

from aiohttp import web
from aiohttp.typedefs import Middleware

from rowlock.engine.database import Database
from rowlock.engine.metrics import Meter
from rowlock.engine.tasks import Supervisor
from rowlock.http.access import bearer_token
from rowlock.http.addresses import ADDRESSES, Addresses
from rowlock.http.auth0 import Tenant
from rowlock.http.boundary import boundary, refuse_query
from rowlock.http.health import HealthRoutes, Readiness
from rowlock.http.intake import CROWD, INTAKE, PRESS, UNPROVEN, Crowd, Intake, Press
from rowlock.http.metrics import METRICS, Metrics
from rowlock.http.openapi.routes import DOCUMENTS, DocumentRoutes
from rowlock.http.origins import Origins
from rowlock.http.outbound import Outbound
from rowlock.http.rates import Rates
from rowlock.http.routes import Route, add_to
from rowlock.http.service import DRAINING, SERVICE, SETTINGS, Context, Service
from rowlock.http.turnstile import Turnstile
from rowlock.settings import Settings


def create_app(service: Service, settings: Settings, database_url: str) -> web.Application:
    """Return the application of `service` on the database at `database_url`."""
    metrics = Metrics(service.name)
    turnstile = Turnstile(
        settings.http.turn_requests, settings.http.turn_wait_s, metrics.turned_away
    )
    database = Database(database_url, settings.database, f"rowlock-{service.name}")
    outbound = Outbound()
    draining = asyncio.Event()
    meter = Meter(service.name)
    parts = service.build(Context(database, settings, meter, outbound, draining))
    supervisor = Supervisor(parts.tasks, settings.tasks, meter)
    readiness = Readiness(service, settings, database, supervisor, draining)
    health = HealthRoutes(readiness, metrics, parts.backlog)
    routes = [route for group in (*parts.routes, health) for route in group]
    documents = DocumentRoutes(service, settings, routes)
    served = [*routes, *documents]
    addresses = Addresses(service.public_url(settings), settings.http.trusted_proxies)
    allowed = settings.http.cors_origins if service.for_pages else ()
    origins = Origins(allowed, addresses, [route.endpoint for route in served])

    middlewares = [
        boundary(settings, metrics, turnstile),
        origins.middleware(),
        *_limited(service, settings, addresses, _access(service, settings, outbound, routes)),
        refuse_query,
    ]
    app = web.Application(middlewares=middlewares, client_max_size=service.body_bytes(settings))
    app[SERVICE] = service
    app[SETTINGS] = settings
    app[DRAINING] = draining
    app[METRICS] = metrics
    for key, total in (
        (INTAKE, service.bodies_bytes(settings)),
        (UNPROVEN, settings.http.webhook_bodies_bytes),
    ):
        app[key] = Intake(total, settings.http.bodies_queue, settings.http.turn_wait_s)
    app[PRESS] = Press()
    app[CROWD] = Crowd()
    app[DOCUMENTS] = documents
    app[ADDRESSES] = addresses
    origins.serve(app)
    for route in served:
        add_to(app, route)

    async def open_outbound(_: web.Application) -> AsyncIterator[None]:
        yield
        await outbound.close()

    async def open_database(_: web.Application) -> AsyncIterator[None]:
        async with database:
            yield

    async def open_lanes(_: web.Application) -> AsyncIterator[None]:
        lanes = [lane for feature in parts.features for lane in feature.lanes]
        async with metrics.watch(turnstile, lanes, database, settings):
            yield
        await asyncio.gather(*(lane.close() for lane in lanes))

    async def run_tasks(_: web.Application) -> AsyncIterator[None]:
        supervisor.start()
        async with readiness:
            yield
        await supervisor.stop()

    async def drain(_: web.Application) -> None:
        draining.set()

    # Closed in reverse order: tasks before lanes, lanes before the pool.
    app.cleanup_ctx.extend([open_outbound, open_database, open_lanes, run_tasks])
    app.on_shutdown.append(drain)
    return app


def _access(
    service: Service, settings: Settings, outbound: Outbound, routes: Iterable[Route]
) -> Iterator[Middleware]:
    """Yield the middleware that asks for the service's token, if it has one."""
    token = service.token(settings)
    if token is not None:
        tenant = Tenant.of(settings.auth0, outbound) if service.takes_jwts else None
        own_access = [route.endpoint.path for route in routes if route.endpoint.security]
        yield bearer_token(token, tenant, own_access)


def _limited(
    service: Service, settings: Settings, addresses: Addresses, access: Iterable[Middleware]
) -> Iterable[Middleware]:
    """Return the middlewares of `access`, with the limit on each client if there is one."""
    rate = service.client_rate(settings)
    return Rates(rate, addresses).around(access) if rate else access
