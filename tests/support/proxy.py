"""A way to a database that can lose what is sent on it, or be cut."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import psycopg

from tests.support.polling import until


class Proxy:
    """Forwards connections to a database; `url` leads there through it."""

    def __init__(self, target: str, loses: Callable[[bytes], bool]) -> None:
        with psycopg.connect(target) as connection:
            info = connection.info
            self._host, self._port = info.host, info.port
            self._login = f"{quote(info.user)}:{quote(info.password)}"
            self._database = quote(info.dbname)
        self.url = ""
        self.port = 0
        self.connections = 0  # that are open
        self._loses = loses
        self._writers: set[StreamWriter] = set()
        self._is_cut = False

    @classmethod
    @asynccontextmanager
    async def to(
        cls, target: str, loses: Callable[[bytes], bool] = lambda _: False
    ) -> AsyncIterator["Proxy"]:
        """Lend a proxy to the database at `target` that loses some of what is sent there."""
        proxy = cls(target, loses)
        async with await asyncio.start_server(proxy._forward, "127.0.0.1", 0) as server:
            proxy.port = server.sockets[0].getsockname()[1]
            proxy.url = f"postgresql://{proxy._login}@127.0.0.1:{proxy.port}/{proxy._database}"
            yield proxy
            proxy.cut()
            await until(lambda: proxy.connections == 0)

    def move_to(self, port: int) -> None:
        """Lead to another server from now on, as a name does that is given to another machine.

        Connections that are open stay where they are.
        """
        self._port = port

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Take connections again."""
        self._is_cut = False

    async def _forward(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        try:
            await self._connect(reader, writer)
        finally:
            self.connections -= 1

    async def _connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._writers.add(writer)
        if self._is_cut:
            writer.transport.abort()
            return
        server_reader, server_writer = await (
            asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
            if self._host.startswith("/")
            else asyncio.open_connection(self._host, self._port)
        )
        self._writers.add(server_writer)
        await asyncio.gather(
            self._pass_on(reader, server_writer, self._loses),
            self._pass_on(server_reader, writer, lambda _: False),
        )

    async def _pass_on(
        self, reader: StreamReader, writer: StreamWriter, loses: Callable[[bytes], bool]
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if not loses(data):
                    writer.write(data)
        except ConnectionError:
            pass  # it was cut
        writer.close()
