"""Test servers whose clients connect whenever they like, such as browsers."""

import asyncio
import socket

from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from rowlock.process.server import accept

TURNS = 3  # of the event loop, from accepting a connection until its handler is registered


class Server(TestServer):
    """The test server, but one that closes all connections that it has accepted.

    Of those accepted a moment before, asyncio loses some when their server closes, and aiohttp
    does not see the others. So it stops accepting first, and waits until all have a handler.
    """

    _acceptor: asyncio.Server | None = None

    async def start_server(self, *_: object, **__: object) -> None:
        if self._acceptor is not None:
            return
        self.runner = runner = web.AppRunner(self.app, access_log=None, handler_cancellation=True)
        await runner.setup()
        listener = socket.create_server((self.host, self.port or 0))
        self.port = listener.getsockname()[1]
        self._root = URL(f"http://{self.host}:{self.port}")
        self._acceptor = await self._accept(runner, listener)

    async def _accept(self, runner: web.AppRunner, listener: socket.socket) -> asyncio.Server:
        handlers = runner.server
        assert handlers is not None
        return await asyncio.get_running_loop().create_server(handlers, sock=listener)

    async def close(self) -> None:
        if self._acceptor is not None:
            for listener in self._acceptor.sockets:
                asyncio.get_running_loop().remove_reader(listener.fileno())
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._acceptor.close()
        await super().close()


class ServiceServer(Server):
    """The same for a service, with connections as `rowlock serve` has them."""

    async def _accept(self, runner: web.AppRunner, listener: socket.socket) -> asyncio.Server:
        return await accept(runner, listener)
