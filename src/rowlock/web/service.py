"""What a service is made of, and the keys of an application's state."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from rowlock.database import Database
from rowlock.queries import Query
from rowlock.settings import Settings
from rowlock.tasks.supervisor import Supervisor, Wake

State = dict[web.AppKey[Any], Any]
Run = Callable[[web.Application, Wake], Awaitable[None]]


class Feature(Protocol):
    """A module that serves something: its routes, and what they need."""

    ROUTES: web.RouteTableDef

    def state(self, database: Database, settings: Settings) -> State:
        """Return what the feature keeps, by key: the lanes that its routes submit to, mostly."""


@dataclass(frozen=True, slots=True)
class Service:
    """One of the services: what it serves, where, and to whom."""

    name: str
    database: str  # the folder of its migrations
    features: tuple[Feature, ...]
    port: Callable[[Settings], int]
    token: Callable[[Settings], str | None]  # None: open
    body_bytes: Callable[[Settings], int]  # the largest body accepted
    tasks: Mapping[str, Run]  # what runs in the background, by name
    examples: tuple[str, ...]  # addresses to try, as arguments of curl
    backlog: Query | None = None  # measures what waits for the tasks, for /metrics
    takes_jwts: bool = False  # of the Auth0 tenant, where one is configured
    takes_keys: bool = True  # its writes take an Idempotency-Key
    webhooks: frozenset[str] = frozenset()  # paths whose handlers see to access themselves


SERVICE = web.AppKey("service", Service)
SETTINGS = web.AppKey("settings", Settings)
DATABASE = web.AppKey("database", Database)
TASKS = web.AppKey("tasks", Supervisor)
HTTP = web.AppKey("http", aiohttp.ClientSession)  # for requests to other services
DRAINING = web.AppKey("draining", asyncio.Event)  # set: the service is shutting down
