"""The application factory: one aiohttp application per service."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from aiohttp import web

from rowlock.engine.database import Database
from rowlock.engine.metrics import Meter
from rowlock.engine.tasks import Supervisor
from rowlock.http.access import ACCESS, Access
from rowlock.http.addresses import ADDRESSES, Addresses
from rowlock.http.auth0 import Tenant
from rowlock.http.backoff import BACKOFF, Backoff
from rowlock.http.boundary import Boundary
from rowlock.http.health import HealthRoutes, Readiness
from rowlock.http.intake import CROWD, INTAKE, PRESS, UNPROVEN, Crowd, Intake, Press
from rowlock.http.keyring import Keyring
from rowlock.http.metrics import METRICS, Metrics
from rowlock.http.openapi.routes import DOCUMENTS, DocumentRoutes
from rowlock.http.origins import ORIGINS, Origins
from rowlock.http.outbound import Outbound
from rowlock.http.rates import Rates
from rowlock.http.routes import Route
from rowlock.http.service import DRAINING, SERVICE, SETTINGS, Context, Service
from rowlock.http.turnstile import Turnstile
from rowlock.settings import Settings


def create_app(
    service: Service,
    settings: Settings,
    database_url: str,
    other_urls: Mapping[str, str] | None = None,
    neighbours: Mapping[str, str] | None = None,
) -> web.Application:
    """Return the application of `service` on the database at `database_url`.

    `other_urls` are those of its further databases, by their names; `neighbours` those of all
    services of this process.
    """
    metrics = Metrics(service.name)
    turnstile = Turnstile(
        settings.http.turn_requests, settings.http.turn_wait_s, metrics.turned_away
    )
    database = _connect(service, settings, service.database, database_url)
    others = {
        name: _connect(service, settings, name, url) for name, url in (other_urls or {}).items()
    }
    outbound = Outbound()
    draining = asyncio.Event()
    meter = Meter(service.name)
    parts = service.build(
        Context(database, settings, meter, outbound, draining, others, neighbours or {})
    )
    lanes = [lane for feature in parts.features for lane in feature.lanes]
    watching = [task for each in (database, *others.values()) for task in each.tasks]
    supervisor = Supervisor([*parts.tasks, *watching], settings.tasks, meter, database.outage)
    readiness = Readiness(service, settings, database, supervisor, draining)
    health = HealthRoutes(readiness, metrics, parts.backlog)
    routes = [route for group in (*parts.routes, health) for route in group]
    site = parts.site
    documents = DocumentRoutes(service, settings, routes, None if site is None else site.front)
    served = [*routes, *documents, *(site.routes if site else ())]
    addresses = Addresses(service.public_url(settings), settings.http.trusted_proxies)
    allowed = settings.http.cors_origins if service.for_pages else ()
    origins = Origins(allowed, addresses, [route.endpoint for route in served])
    access = _access(service, settings, outbound, parts.keyring, addresses=addresses, routes=served)
    boundary = Boundary(
        settings=settings,
        metrics=metrics,
        turnstile=turnstile,
        addresses=addresses,
        origins=origins,
        access=access,
        rates=Rates(service.client_rate(settings), addresses),
        draining=draining,
        site=site,
    )
    app = web.Application(client_max_size=service.body_bytes(settings))
    app[SERVICE] = service
    app[SETTINGS] = settings
    app[DRAINING], app[METRICS] = draining, metrics
    for key, total in (
        (INTAKE, service.bodies_bytes(settings)),
        (UNPROVEN, settings.http.webhook_bodies_bytes),
    ):
        app[key] = Intake(total, settings.http.bodies_queue, settings.http.turn_wait_s)
    app[PRESS], app[CROWD] = Press(), Crowd()
    app[DOCUMENTS], app[BACKOFF] = documents, Backoff(settings, database, [turnstile, *lanes])
    app[ADDRESSES], app[ORIGINS], app[ACCESS] = addresses, origins, access
    origins.serve(app)
    boundary.serve(app, served)

    async def open_outbound(_: web.Application) -> AsyncIterator[None]:
        yield
        await outbound.close()

    async def open_lanes(_: web.Application) -> AsyncIterator[None]:
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
    databases = map(_within, (database, *others.values()))
    app.cleanup_ctx.extend([open_outbound, *databases, open_lanes, run_tasks])
    app.on_shutdown.append(drain)
    return app


def _within(database: Database) -> Callable[[web.Application], AsyncIterator[None]]:
    async def stay(_: web.Application) -> AsyncIterator[None]:
        async with database:
            yield

    return stay


def _connect(service: Service, settings: Settings, name: str, url: str) -> Database:
    return Database(
        url,
        settings.database,
        f"rowlock-{service.name}",
        read_url=settings.database.read_urls.get(name),
        supervised=True,
    )


def _access(
    service: Service,
    settings: Settings,
    outbound: Outbound,
    keyring: Keyring,
    *,
    addresses: Addresses,
    routes: Iterable[Route],
) -> Access:
    tenant = Tenant.of(settings.auth0, outbound) if service.takes_jwts else None
    own_access = [route.endpoint.path for route in routes if route.endpoint.security]
    return Access(service.token(settings), keyring, addresses, tenant, own_access)
