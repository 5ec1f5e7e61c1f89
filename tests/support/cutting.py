"""A TCP proxy to a port that cuts its connections at random moments."""

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PIECE = 65_536


class Cutting:
    """Forwards connections to a port of this machine, and cuts some in the middle of it.

    A piece of data is lost with the chance `chance`, and its connection with it: a request before
    the service has it, or an answer before the client has it.
    """

    def __init__(self, port: int, chance: float, rng: random.Random) -> None:
        self.port = 0
        self.cuts = {"requests": 0, "answers": 0}
        self._target = port
        self._chance = chance
        self._rng = rng
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int, chance: float, rng: random.Random) -> AsyncIterator["Cutting"]:
        """Lend a proxy to `port`."""
        proxy = cls(port, chance, rng)
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):  # the service is down, or the test is over
            writer.transport.abort()

    async def _connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = [writer, there_writer]
        await asyncio.gather(
            self._pass_on(reader, there_writer, "requests", ends),
            self._pass_on(there_reader, writer, "answers", ends),
        )

    async def _pass_on(
        self, reader: StreamReader, writer: StreamWriter, what: str, ends: list[StreamWriter]
    ) -> None:
        try:
            while data := await reader.read(PIECE):
                if self._rng.random() < self._chance:
                    self.cuts[what] += 1
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            for end in ends:
                with suppress(OSError):
                    end.transport.abort()
