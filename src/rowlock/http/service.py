"""What a service consists of, as the HTTP application serves it.

`rowlock.services` describes each service in these terms, and `http.app` makes an application of
it. So this package imports no feature.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from aiohttp import web

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature
from rowlock.engine.metrics import Meter
from rowlock.engine.tasks import Task
from rowlock.errors import RowlockError
from rowlock.http.keyring import Keyring
from rowlock.http.metrics import State
from rowlock.http.outbound import Outbound
from rowlock.http.routes import Handler, Route, Routes
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName


class Context(NamedTuple):
    """What a service is built with."""

    database: Database
    settings: Settings
    meter: Meter
    outbound: Outbound
    draining: asyncio.Event  # set: the service is shutting down
    others: Mapping[str, Database]  # its further databases, by their names
    neighbours: Mapping[str, str]  # URLs of all services of this process, by their names


# Measures what waits for a service's tasks, for /metrics; counts so many rows of a kind at most.
Backlog: TypeAlias = Callable[[Connection, int], Awaitable[State]]


class Site(Protocol):
    """The pages for people that a service has besides its API. Package `pages` has it."""

    @property
    def routes(self) -> Sequence[Route]:
        """The pages. They check access themselves, and are in no OpenAPI document."""

    @property
    def front(self) -> Handler | None:
        """What answers `/` for clients that prefer HTML; None: the page of the service does."""

    def covers(self, path: str) -> bool:
        """Tell whether errors at a path are shown as pages."""

    def respond(self, error: RowlockError, request: web.Request) -> web.Response:
        """Return the answer for an error: a page for clients that prefer HTML, else JSON."""

    def elsewhere(self, refuse: Handler) -> Handler:
        """Return what answers where there is no page: `refuse`, for those who may know it."""


class Parts(NamedTuple):
    """The features of a service, how clients reach them, and what runs in the background.

    And who may reach them, besides the holders of the service's token.
    """

    features: Sequence[Feature]
    routes: Sequence[Routes]
    tasks: Sequence[Task]
    keyring: Keyring
    backlog: Backlog | None = None
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One of the services: what it serves, where, and to whom."""

    name: ServiceName
    database: str  # a DatabaseName: the one that it can't do without
    build: Callable[[Context], Parts]
    port: Callable[[Settings], int]
    public_url: Callable[[Settings], str | None]  # None: the address that a request came to
    token: Callable[[Settings], str | None]  # None: open to all
    body_bytes: Callable[[Settings], int]  # the largest body accepted
    bodies_bytes: Callable[[Settings], int]  # of all bodies in a process at once
    client_rate: Callable[[Settings], int]  # requests a second of one client; 0: no limit
    examples: tuple[str, ...]  # paths to try with curl
    takes_jwts: bool = False  # those of the Auth0 tenant, where one is configured
    has_money: bool = False  # it shows amounts
    also: tuple[str, ...] = ()  # further DatabaseNames
    for_pages: bool = True  # pages of the origins that are allowed may use it

    @property
    def databases(self) -> tuple[str, ...]:
        """The names of all databases that it needs."""
        return (self.database, *self.also)


SERVICE = web.AppKey("service", Service)
SETTINGS = web.AppKey("settings", Settings)
DRAINING = web.AppKey("draining", asyncio.Event)
