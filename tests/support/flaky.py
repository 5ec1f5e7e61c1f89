"""A way to a service that can fail as networks and proxies do."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeAlias

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

HOP = ("Transfer-Encoding", "Content-Encoding", "Content-Length", "Connection")


class Instead(NamedTuple):
    """An answer that the proxy gives, without the service."""

    status: int
    headers: Mapping[str, str] = {}
    text: str = ""


class Cut(NamedTuple):
    """The connection breaks: before the service has the request, or once it has answered."""

    after: bool


class Hang(NamedTuple):
    """The service gets the request, and the client no answer for as long as it waits."""


Fault: TypeAlias = Instead | Cut | Hang
BEFORE, AFTER = Cut(after=False), Cut(after=True)


class Flaky:
    """A proxy to a service at `url`; faults that are added meet the next requests, in order."""

    def __init__(self, target: str) -> None:
        self.url = ""
        self.faults: deque[Fault | None] = deque()
        self.always: Callable[[], Fault | None] = lambda: None  # once there are no more of these
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self._target = target.rstrip("/")
        self._hung: list[asyncio.Event] = []
        self._streaming: list[web.BaseRequest] = []

    @classmethod
    @asynccontextmanager
    async def to(cls, target: str) -> AsyncIterator["Flaky"]:
        """Lend a proxy to the service at `target`."""
        flaky = cls(target)
        async with aiohttp.ClientSession(auto_decompress=False) as session:

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                return await flaky._handle(request, session)

            server = web.Server(handle, handler_cancellation=True)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            flaky.url = f"http://{host}:{port}"
            try:
                yield flaky
            finally:
                for hung in flaky._hung:
                    hung.set()
                await runner.cleanup()

    def cut_streams(self) -> None:
        """Break the connections on which an answer is being passed on."""
        for request in self._streaming:
            _break(request)

    async def _handle(
        self, request: web.BaseRequest, session: aiohttp.ClientSession
    ) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, request.headers.copy()))
        fault = self.faults.popleft() if self.faults else self.always()
        if fault == BEFORE:
            return _break(request)
        if isinstance(fault, Instead):
            return web.Response(status=fault.status, headers=fault.headers, text=fault.text)
        headers = CIMultiDict(request.headers)
        headers.pop("Host")
        async with session.request(
            request.method,
            self._target + request.path_qs,
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as response:
            if fault == AFTER:
                await response.read()
                return _break(request)
            if isinstance(fault, Hang):
                await response.read()
                self._hung.append(asyncio.Event())
                await self._hung[-1].wait()
                return _break(request)
            own = CIMultiDict(response.headers)
            for name in HOP:
                own.popall(name, None)
            answer = web.StreamResponse(status=response.status, headers=own)
            await answer.prepare(request)
            self._streaming.append(request)
            try:
                async for piece in response.content.iter_any():
                    await answer.write(piece)
                await answer.write_eof()
            except ConnectionError:
                pass  # it was cut
            finally:
                self._streaming.remove(request)
            return answer


def _break(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
