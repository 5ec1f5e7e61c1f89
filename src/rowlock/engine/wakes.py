"""Wakes end a background task's wait for work, in this process and in others.

A wake only saves time. A task also looks for work by itself now and then, so none depends on it.
"""

import asyncio

import asyncpg
import structlog

from rowlock.engine.database import Connection, Database
from rowlock.engine.faults import is_lost
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseUnavailable

logger = structlog.get_logger(__name__)


class Wake:
    """Lets one task sleep until there may be something to do."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the task, or keep it from falling asleep once."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Return once woken, or after `timeout_s` at the latest."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


class SharedWake(Wake):
    """A wake that reaches the other processes on the database, too, while `task` runs.

    They are told by NOTIFY on `channel`, on a connection of this wake's own, at most once in
    `pause_s`. The transaction that makes the work has no part in it: it does not fail when the
    server's queue of notifications is full, and no two of them wait for each other there.
    """

    def __init__(self, database: Database, channel: str, pause_s: float) -> None:
        super().__init__()
        self.task = Task(f"{channel}_wakes", self._share)
        self._database = database
        self._channel = channel
        self._pause_s = pause_s
        self._untold = asyncio.Event()

    def set(self) -> None:
        """Wake the task here at once, and those of other processes soon."""
        super().set()
        self._untold.set()

    async def _share(self) -> None:
        """Tell other processes, and hear them. Raises DatabaseUnavailable."""
        async with self._database.dedicated() as connection:
            own = connection.get_server_pid()

            def hear(_connection: Connection, pid: int, _channel: str, _payload: object) -> None:
                if pid != own:
                    super(SharedWake, self).set()

            await connection.add_listener(self._channel, hear)
            connection.add_termination_listener(lambda _: self._untold.set())
            super().set()  # for what other processes told before this one listened
            while True:
                await self._untold.wait()
                if connection.is_closed():
                    raise DatabaseUnavailable
                self._untold.clear()
                await self._tell(connection)
                await asyncio.sleep(self._pause_s)

    async def _tell(self, connection: Connection) -> None:
        try:
            await queries.wakes.notify(connection, channel=self._channel)
        except asyncpg.PostgresError as error:
            if is_lost(error):
                raise
            # Such as 54000: a session that does not read its notifications has filled the queue.
            logger.debug("not_notified", channel=self._channel, error=repr(error))
