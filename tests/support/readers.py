"""Clients that read lists whatever happens, and count what they were told."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import aiohttp

ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass
class Readers:
    """Each reads one list after the other, all of them in turn."""

    urls: Sequence[str]
    clients: int = 8
    pause_s: float = 0.0  # of each client, between two lists
    statuses: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    read: int = 0  # answers so far
    refused: list[str] = field(default_factory=list)  # the bodies of those that are not 200

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Readers"]:
        """Read meanwhile; each client finishes what it has begun."""
        stop = asyncio.Event()
        async with aiohttp.ClientSession(timeout=ANSWER_TIMEOUT) as session:
            clients = [
                asyncio.create_task(self._read(session, first, stop))
                for first in range(self.clients)
            ]
            try:
                yield self
            finally:
                stop.set()
                await asyncio.gather(*clients)

    async def _read(self, session: aiohttp.ClientSession, number: int, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            started = loop.time()
            async with session.get(self.urls[number % len(self.urls)]) as response:
                body = await response.text()
            if response.status != 200:
                self.refused.append(body)
            self.slowest_s = max(self.slowest_s, loop.time() - started)
            self.statuses[response.status] += 1
            self.read += 1
            number += 1
            await asyncio.sleep(self.pause_s)
