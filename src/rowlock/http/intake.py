"""Limits on what a service holds of requests at once; large bodies don't hold up the others."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from rowlock.errors import Overloaded

# A body that arrives along with its head and is no larger takes no share: most are like that.
SMALL_BYTES = 65_536
# Making Python objects of more than this stops the event loop for long enough to be felt.
LARGE_BYTES = 1_048_576


class Intake:
    """A budget of bytes. A request takes its share before it reads its body, until it is answered.

    Once all is taken, requests wait in line, for `wait_s` at most. At most `places` of them do, as
    what they have sent already is in memory, too.
    """

    def __init__(self, total_bytes: int, places: int, wait_s: float) -> None:
        self.total = total_bytes
        self._free = total_bytes
        self._places = places
        self._wait_s = wait_s
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """How many bytes are free."""
        return self._free

    async def take(self, wanted: int) -> "Share":
        """Return a share of `wanted` bytes, or of all there are. Raises Overloaded."""
        size = min(wanted, self.total)
        if not self._waiting and size <= self._free:
            self._free -= size
            return Share(self, size)
        if len(self._waiting) >= self._places:
            raise Overloaded
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._free += size  # it came too late
            with suppress(ValueError):
                self._waiting.remove((size, turn))
            self._let_in()
            if isinstance(error, TimeoutError):
                raise Overloaded from None
            raise
        return Share(self, size)

    def give_back(self, size: int) -> None:
        """Take back a share, for the requests that wait."""
        self._free += size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= size
                turn.set_result(None)


class Share:
    """A part of an intake's bytes."""

    __slots__ = ("_intake", "_size")

    def __init__(self, intake: Intake, size: int) -> None:
        self._intake = intake
        self._size = size

    def give_back(self) -> None:
        """Give the bytes back."""
        self._intake.give_back(self._size)


class Press:
    """Lets large bodies through one by one, and the event loop turn freely in between.

    After each one it rests for as long as that took. So large bodies take half of the time at most,
    and other requests wait for one of them, not for all.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Return when it is the caller's turn; what is done in it must not wait for anything."""
        loop = asyncio.get_running_loop()
        await self._lock.acquire()
        started = loop.time()
        try:
            yield
        finally:
            loop.call_later(loop.time() - started, self._lock.release)


class Crowd:
    """All connections of a service to this process: how many, and what they have begun to send."""

    __slots__ = ("connections", "heads_bytes", "refusals")

    def __init__(self) -> None:
        self.connections = 0
        self.refusals = 0  # connections beyond the limit, which are being refused
        self.heads_bytes = 0  # of heads that are not complete


CROWD = web.AppKey("crowd", Crowd)
INTAKE = web.AppKey("intake", Intake)
UNPROVEN = web.AppKey("unproven", Intake)  # of clients that have not proven who they are
PRESS = web.AppKey("press", Press)
