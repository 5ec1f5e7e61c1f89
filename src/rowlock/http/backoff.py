"""When a client that was refused may come again: the more are, the later, and not all at once."""

import asyncio
import random
from collections.abc import Iterable
from typing import Protocol

from aiohttp import web

from rowlock.engine.database import Database
from rowlock.errors import DatabaseUnavailable, OutcomeUnknown, Unavailable
from rowlock.settings import Settings

WINDOW_S = 1.0


class Queue(Protocol):
    """What requests wait in."""

    @property
    def waiting(self) -> int:
        """How many wait."""


class Backoff:
    """Gives each 503 its Retry-After.

    The queue is what waits here, and those who were told within the last second to come again. If
    it is empty, that is `retry_after_s`. The longer it is, the further they are spread, up to
    `retry_after_limit_s` where it has as many as one kind of batch lets wait.
    """

    def __init__(self, settings: Settings, database: Database, queues: Iterable[Queue]) -> None:
        self._least_s = settings.http.retry_after_s
        self._most_s = max(self._least_s, settings.http.retry_after_limit_s)
        self._room = max(1, settings.batches.batch_queue)
        self._database = database
        self._queues = tuple(queues)
        self._since = 0.0  # by the loop's clock: when the window began
        self._refused = self._refused_before = 0  # in this window, and in the one before

    def refuse(self, error: Unavailable) -> int:
        """Note a request that is refused; return the seconds after which it may come again."""
        if isinstance(error, DatabaseUnavailable | OutcomeUnknown):
            self._database.outage.count_request()
        now = asyncio.get_running_loop().time()
        if now - self._since >= WINDOW_S:
            is_next = now - self._since < 2 * WINDOW_S
            self._refused_before = self._refused if is_next else 0
            self._refused, self._since = 0, now
        self._refused += 1
        waiting = sum(queue.waiting for queue in self._queues) + self._database.pool_use.waiting
        queue = waiting + max(self._refused, self._refused_before) - 1
        spread_s = (self._most_s - self._least_s) * min(1.0, queue / self._room)
        return self._least_s + round(random.uniform(0, spread_s))  # noqa: S311


BACKOFF = web.AppKey("backoff", Backoff)
