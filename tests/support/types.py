"""Short names for what fixtures return."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestClient

Client: TypeAlias = TestClient[web.Request, web.Application]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Serve: TypeAlias = Callable[..., Awaitable[Client]]
OpenAccount: TypeAlias = Callable[..., Awaitable[int]]
Unchanged: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
