"""Admission: a limited number of requests is let in per turn of the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable

from rowlock.errors import Overloaded


class Turnstile:
    """Lets in `per_turn` requests per turn of the event loop; the rest wait for the next turns.

    A batch talks with the database over several turns. If thousands of requests arrive at once and
    each turn handles all of them, a batch takes seconds, and every request times out.
    """

    def __init__(
        self, per_turn: int, wait_s: float, on_refusal: Callable[[], object] = lambda: None
    ) -> None:
        self._per_turn = per_turn
        self._wait_s = wait_s
        self._on_refusal = on_refusal
        self._left = per_turn
        self._waiting: deque[tuple[float, asyncio.Future[bool]]] = deque()

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._waiting)

    def lets_in(self) -> bool:
        """Tell whether the caller is let in at once; if not, it has to `wait`."""
        if self._left == self._per_turn:
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left and not self._waiting:
            self._left -= 1
            return True
        return False

    async def wait(self) -> None:
        """Return when it is the caller's turn. Raises Overloaded if that takes too long."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((loop.time(), future))
        if not await future:
            self._on_refusal()
            raise Overloaded

    def _turn(self) -> None:
        self._left = self._per_turn
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        earliest = loop.time() - self._wait_s
        while self._left and self._waiting:
            arrived, future = self._waiting.popleft()
            if not future.done():  # done: its caller was cancelled
                future.set_result(arrived >= earliest)
                self._left -= 1  # a refusal takes time, too
        if self._left < self._per_turn:
            loop.call_soon(self._turn)
