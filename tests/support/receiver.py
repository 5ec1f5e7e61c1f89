"""A receiver of webhooks, as users run them: some well, some badly."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from standardwebhooks.webhooks import Webhook


class Received(NamedTuple):
    """What was posted."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float  # monotonic seconds

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        read: dict[str, Any] = orjson.loads(self.body)
        return read

    def verified_by(self, secret: str) -> Any:
        """What the official library makes of it. Raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body.decode(), dict(self.headers))


Behave = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def take(_: web.Request) -> web.StreamResponse:
    return web.Response()


def answer(status: int, **headers: str) -> Behave:
    async def behave(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.Response(status=status, headers=named)

    return behave


class Receiver:
    """Answers on each path as it is told to, and keeps what was posted."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.behaviours: dict[str, Behave] = {}
        self.under_way: dict[str, int] = {}
        self.most_under_way: dict[str, int] = {}
        self.released = asyncio.Event()  # lets those go that never answer
        self.app = web.Application(client_max_size=2**26)
        self.app.router.add_route("*", "/{path:.*}", self._answer)
        self.url = ""

    def at(self, path: str) -> list[Received]:
        return [each for each in self.received if each.path == path]

    def ids(self, path: str) -> set[str]:
        return {each.id for each in self.at(path)}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        body = await request.read()
        self.received.append(Received(path, request.headers, body, time.monotonic()))
        self.under_way[path] = self.under_way.get(path, 0) + 1
        most = self.most_under_way.get(path, 0)
        self.most_under_way[path] = max(most, self.under_way[path])
        try:
            return await self.behaviours.get(path, take)(request)
        finally:
            self.under_way[path] -= 1

    async def never(self, _: web.Request) -> web.StreamResponse:
        await self.released.wait()
        return web.Response()


async def close_at_once(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def answer_hugely(request: web.Request) -> web.StreamResponse:
    """Answer 200, and more than anybody reads."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(200):
        await response.write(b"x" * 65_536)
    return response


async def answer_with_a_huge_head(_: web.Request) -> web.StreamResponse:
    return web.Response(headers={f"X-{number}": "x" * 4000 for number in range(100)})
