"""The application factory: one aiohttp application per service."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from rowlock.engine.database import Database
from rowlock.engine.metrics import Meter
from rowlock.engine.tasks import Supervisor
from rowlock.http.access import ACCESS, Access
from rowlock.http.addresses import ADDRESSES, Addresses
from rowlock.http.auth0 import Tenant
from rowlock.http.boundary import Boundary
from rowlock.http.health import HealthRoutes, Readiness
from rowlock.http.intake import CROWD, INTAKE, PRESS, UNPROVEN, Crowd, Intake, Press
from rowlock.http.keyring import Keyring
from rowlock.http.metrics import METRICS, Metrics
from rowlock.http.openapi.routes import DOCUMENTS, DocumentRoutes
from rowlock.http.origins import Origins
from rowlock.http.outbound import Outbound
from rowlock.http.rates import Rates
from rowlock.http.routes import Route
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
    access = _access(service, settings, outbound, parts.keyring, routes)
    boundary = Boundary(
        settings=settings,
        metrics=metrics,
        turnstile=turnstile,
        addresses=addresses,
        origins=origins,
        access=access,
        rates=Rates(service.client_rate(settings), addresses),
        draining=draining,
    )
    app = web.Application(client_max_size=service.body_bytes(settings))
    app[SERVICE] = service
    app[SETTINGS] = settings
    app[DRAINING] = draining
    app[METRICS] = metrics
    for key, total in (
        (INTAKE, service.bodies_bytes(settings)),
        (UNPROVEN, settings.http.webhook_bodies_bytes),
    ):
        app[key] = Intake(total, settings.http.bodies_queue, settings.http.turn_wait_s)
    app[PRESS], app[CROWD] = Press(), Crowd()
    app[DOCUMENTS] = documents
    app[ADDRESSES], app[ACCESS] = addresses, access
    origins.serve(app)
    boundary.serve(app, served)

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
    service: Service,
    settings: Settings,
    outbound: Outbound,
    keyring: Keyring,
    routes: Iterable[Route],
) -> Access:
    tenant = Tenant.of(settings.auth0, outbound) if service.takes_jwts else None
    own_access = [route.endpoint.path for route in routes if route.endpoint.security]
    return Access(service.token(settings), keyring, tenant, own_access)
