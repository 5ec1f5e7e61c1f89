"""Questions to the database that callers share, and whether commits succeed."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import asyncpg

from rowlock.engine.database import Database
from rowlock.engine.faults import DRIVER_ERRORS
from rowlock.engine.statements import queries
from rowlock.errors import RowlockError

Answer = TypeVar("Answer")

SYNC_REP = "SyncRep"  # the wait event of a commit that waits for a synchronous standby
UNREACHABLE = "the database can't be reached"
NO_STANDBY = "no synchronous standby answers"
TOO_SLOW = "the database takes too long to commit"
READ_ONLY = "the database is read-only"
REFUSALS = {
    "25006": READ_ONLY,
    "53100": "the disk is full",
    "53200": "the database server is out of memory",
    "53300": "the database server has no connection left",
}


class Shared(Generic[Answer]):
    """A question that its callers share: it is asked at most once in `every_s`.

    While it is being asked, others wait for the same answer.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]], every_s: float) -> None:
        self.asked = 0.0  # when it was asked last, by the loop's clock
        self._ask = ask
        self._every_s = every_s
        self._era = 0  # in which it was asked last
        self._asking: asyncio.Task[Answer] | None = None

    async def answer(self, within_s: float | None = None, era: int = 0) -> Answer:
        """Return an answer to a question asked within the last `every_s`, or raise what it raised.

        An answer to a question asked in another `era` does not count. Raises TimeoutError if there
        is none `within_s` after the question; the question goes on, and is not asked again
        meanwhile.
        """
        now = asyncio.get_running_loop().time()
        is_old = now - self.asked >= self._every_s or self._era != era
        if self._asking is None or (self._asking.done() and is_old):
            self.asked, self._era = now, era
            self._asking = asyncio.create_task(self._run())
        asking = self._asking
        left_s = None if within_s is None else max(0.0, self.asked + within_s - now)
        await asyncio.wait([asking], timeout=left_s)
        if not asking.done():
            raise TimeoutError
        return asking.result()

    async def _run(self) -> Answer:
        return await self._ask()

    async def close(self) -> None:
        """End a question that is being asked."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


def describe_refusal(database: Database, since: float) -> str | None:
    """Return in words why the database has refused work after `since`, by the loop's clock."""
    refusal = database.refusal
    return REFUSALS.get(refusal.sqlstate) if refusal and refusal.at > since else None


class Writes:
    """Whether commits succeed on a database: a small one tries, on a connection of its own.

    The lanes' own commits don't tell: one that changed nothing succeeds on a read-only database,
    and one that waits for a standby waits for seconds. But what a lane was refused counts at once.

    A probe that hangs is kept, and no other is started, as its backend would stay, too. It goes on
    when the standby is back.
    """

    def __init__(self, database: Database, every_s: float, patience_s: float) -> None:
        self._database = database
        self._patience_s = patience_s
        self._name = f"rowlock-probe-{os.urandom(8).hex()}"
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._probe = Shared(self._commit, every_s)
        self._wait = Shared(self._find_wait, every_s)

    async def problem(self) -> str | None:
        """Return why commits fail, in words; None if they succeed. Raises nothing."""
        if self._database.outage.is_on:
            return UNREACHABLE
        try:
            problem = await self._probe.answer(self._patience_s, self._database.era)
        except TimeoutError:
            return await self._wait.answer()
        return problem or describe_refusal(self._database, self._probe.asked)

    async def close(self) -> None:
        """End the probe and its connection, without asking the server to cancel a commit."""
        self._drop()
        await self._probe.close()
        await self._wait.close()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _commit(self) -> str | None:
        try:
            if self._connection is None or self._connection.is_closed():
                async with asyncio.timeout(self._patience_s):
                    self._connection = await self._database.connect(self._name, patient=True)
            [row] = await queries.probes.write(self._connection)
        except DRIVER_ERRORS as error:
            self._drop()
            return REFUSALS.get(getattr(error, "sqlstate", None) or "", UNREACHABLE)
        return None if row["written"] else READ_ONLY

    async def _find_wait(self) -> str:
        """Return what the probe under way waits for, in words."""
        rows = None
        with suppress(RowlockError, *DRIVER_ERRORS):
            async with asyncio.timeout(self._patience_s), self._database.dedicated() as connection:
                rows = await queries.probes.find_waiting(connection, application_name=self._name)
        if rows == []:
            self._drop()  # its server is gone, or is another one
        if not rows:
            return UNREACHABLE
        return NO_STANDBY if rows[0]["wait_event"] == SYNC_REP else TOO_SLOW
