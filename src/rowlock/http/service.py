"""What a service is made of."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import web

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature
from rowlock.engine.metrics import Meter
from rowlock.engine.tasks import Task
from rowlock.http.outbound import Outbound
from rowlock.http.routes import Routes
from rowlock.settings import Settings
from rowlock.settings.names import DatabaseName, ServiceName


class Context(NamedTuple):
    """What a service's parts are made with."""

    database: Database
    settings: Settings
    meter: Meter
    outbound: Outbound
    draining: asyncio.Event  # set: the service is shutting down


class Parts(NamedTuple):
    """What a service consists of."""

    features: Sequence[Feature]
    routes: Sequence[Routes]
    tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class Service:
    """One of the services: what it serves, where, and to whom."""

    name: ServiceName
    database: DatabaseName
    build: Callable[[Context], Parts]
    port: Callable[[Settings], int]
    token: Callable[[Settings], str | None]  # None: open
    body_bytes: Callable[[Settings], int]  # the largest body accepted
    examples: tuple[str, ...]  # addresses to try, as arguments of curl
    # Measures what waits for its tasks, for /metrics, counting so many rows of a kind at most.
    backlog: Callable[[Connection, int], Awaitable[Mapping[str, Any]]] | None = None
    takes_jwts: bool = False  # of the Auth0 tenant, where one is configured
    takes_keys: bool = True  # its writes take an Idempotency-Key


SERVICE = web.AppKey("service", Service)
SETTINGS = web.AppKey("settings", Settings)
DRAINING = web.AppKey("draining", asyncio.Event)
