"""Outages of a database: when it goes, when it is back, and who waits for that.

A connection that can't be opened makes an outage a suspicion, and so does one over which an answer
is overdue. It is one if the database has answered nothing for DECLARE_S from then on: one slow or
lost connection among others that work is none. It ends with the first work that is done over a
connection of the pool, or over another one while all of those are at work. The log has a line for
each end of an outage, not one for each request or task that fails meanwhile.
"""

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Awaitable, Callable

import structlog

DECLARE_S = 1.0
# Pause between two tries to reach the database. Each is a packet or two while it is down.
RETRY_S = 0.1
RETRY_LIMIT_S = 0.5
# Requests that failed so shortly before an outage belong to it.
PRELUDE_S = 10.0

logger = structlog.get_logger(__name__)


class Outage:
    """Whether the database is away, as the process has last found out.

    While that is suspected, `reach` is called again and again; once the database answers, all who
    wait go on. `reach` must get an answer, and then call `end`, or raise an Exception.
    """

    def __init__(self, name: str, reach: Callable[[], Awaitable[None]]) -> None:
        self.is_suspected = False  # it did not answer once, and nothing has answered since
        self.is_on = False  # the database is away: that was so for long enough
        self.changes = 0  # suspicions that have begun or ended
        self._name = name
        self._reach = reach
        self._began = 0.0  # the last answer before, or the question if that was later
        self._reason = ""
        self._over = asyncio.Event()
        self.failed_requests = 0  # lately, or in this outage
        self._counted = 0.0  # when one was counted last
        self._scout: asyncio.Task[None] | None = None
        self._declaring: asyncio.TimerHandle | None = None
        self._is_closed = False

    def suspect(self, error: BaseException, since: float) -> None:
        """Note that a connection could not be opened, or that an answer is overdue.

        `since` is when there was nothing to suspect yet, by the loop's clock.
        """
        if self.is_suspected or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        self.is_suspected = True
        self.changes += 1
        self._began, self._reason = since, f"{type(error).__name__}: {str(error) or 'no answer'}"
        self._over.clear()
        self._declaring = loop.call_later(DECLARE_S, self._declare)
        self._scout = loop.create_task(
            self._find_again(), name="outage", context=contextvars.Context()
        )

    def end(self) -> None:
        """Note that the database has answered."""
        if not self.is_suspected:
            return
        was_on = self.is_on
        self._stop_looking()
        self.is_suspected = self.is_on = False
        self.changes += 1
        self._over.set()
        lasted_s = round(asyncio.get_running_loop().time() - self._began, 2)
        if was_on:
            self._log("database_back", away_s=lasted_s, failed_requests=self.failed_requests)
        elif self.failed_requests:
            self._log(
                "no_connection",
                error=self._reason,
                lasted_s=lasted_s,
                failed_requests=self.failed_requests,
            )
        self.failed_requests = 0

    def _declare(self) -> None:
        self.is_on = True
        self._log("database_away", error=self._reason)

    def _stop_looking(self) -> None:
        if self._declaring is not None:
            self._declaring.cancel()
        if self._scout is not None and self._scout is not asyncio.current_task():
            self._scout.cancel()

    def count_request(self) -> None:
        """Count a request that has failed for the database.

        The first ones fail as they lose their connections, before no other can be opened.
        """
        now = asyncio.get_running_loop().time()
        if not self.is_suspected and now - self._counted > PRELUDE_S:
            self.failed_requests = 0
        self.failed_requests += 1
        self._counted = now

    async def wait(self) -> None:
        """Return when the database is not away, and that is not suspected."""
        while self.is_suspected:
            await self._over.wait()

    async def close(self) -> None:
        """Look no more for the database."""
        self._is_closed = True
        self._stop_looking()
        if self._scout is not None:
            await asyncio.wait([self._scout])

    def _log(self, event: str, **fields: object) -> None:
        """Log a warning, not as the request or task that happened to notice. Never raises."""
        with contextlib.suppress(Exception):
            contextvars.Context().run(logger.warning, event, database=self._name, **fields)

    async def _find_again(self) -> None:
        pause_s = RETRY_S
        while self.is_suspected:
            # Many processes do not come back in step.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311
            pause_s = min(2 * pause_s, RETRY_LIMIT_S)
            with contextlib.suppress(Exception):
                await self._reach()
