"""Turns at a pool's connections, with a queue that has an end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from rowlock.errors import Overloaded


class PoolUse(NamedTuple):
    """How many connections a pool has, how many of them are lent, and how many callers wait."""

    size: int
    in_use: int
    waiting: int


class Slots:
    """So many callers at once; so many more wait, for a while at most."""

    def __init__(self, count: int, queue: int, patience_s: float) -> None:
        self._count = count
        self._queue = queue
        self._patience_s = patience_s
        self._taken_or_wanted = 0
        self._free = asyncio.Semaphore(count)

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return max(0, self._taken_or_wanted - self._count)

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold one meanwhile. Raises Overloaded if too many wait, or this one has for too long."""
        if self._taken_or_wanted >= self._count + self._queue:
            raise Overloaded
        self._taken_or_wanted += 1
        try:
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._free.acquire()
            except TimeoutError:
                raise Overloaded from None
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._taken_or_wanted -= 1
