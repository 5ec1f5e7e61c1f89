"""Wakes end a background task's wait for work, in this process and in others.

A wake only saves time. A task also looks for work by itself now and then, so none depends on it.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        self._following: list[Wake] = []

    def leads_to(self, other: "Wake") -> None:
        """Let each `set` of this wake set the other one, too."""
        self._following.append(other)

    def set(self) -> None:
        """Wake the task, or keep it from falling asleep once."""
        self._event.set()
        for other in self._following:
            other.set()

    def hear(self) -> None:
        """Wake the task here alone: of another process's, or of this one's own accord."""
        self._event.set()
        for other in self._following:
            other.hear()

    async def wait(self, timeout_s: float) -> bool:
        """Return whether the task was woken, once it is, or after `timeout_s` at the latest."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
        is_woken = self._event.is_set()
        self._event.clear()
        return is_woken


class SharedWake(Wake):
    """A wake that reaches the other processes on the database, too."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell
        self.is_kept = False  # nothing has to be done in other processes

    def set(self) -> None:
        """Wake the task here at once, and those of other processes soon."""
        super().set()
        if not self.is_kept:
            self._tell()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Wake only the task here meanwhile: no other process has anything to do."""
        self.is_kept = True
        try:
            yield
        finally:
            self.is_kept = False


class Wakes:
    """Carries wakes between the processes on a database, while `task` runs.

    Each wake has a channel. A connection for this alone listens, and tells other processes by
    NOTIFY, at most once in `pause_s`. The transaction that makes the work has no part in it: it
    does not fail when the server's queue of notifications is full, and no two transactions wait for
    each other there.
    """

    def __init__(self, database: Database, pause_s: float) -> None:
        self.task = Task("wakes", self._share)
        self._database = database
        self._pause_s = pause_s
        self._wakes: dict[str, SharedWake] = {}
        self._untold: set[str] = set()  # channels
        self._ended = asyncio.Event()  # the pause in which there is nothing to tell

    def on(self, channel: str) -> SharedWake:
        """Return a new wake, the only one here on `channel`."""

        def tell() -> None:
            self._untold.add(channel)
            self._ended.set()

        self._wakes[channel] = SharedWake(tell)
        return self._wakes[channel]

    async def _share(self) -> None:
        """Tell other processes, and hear them. Raises DatabaseUnavailable."""
        async with self._database.dedicated() as connection:
            own = connection.get_server_pid()

            def hear(_connection: Connection, pid: int, channel: str, _payload: object) -> None:
                if pid != own:
                    self._wakes[channel].hear()

            connection.add_termination_listener(lambda _: self._ended.set())
            for channel, wake in self._wakes.items():
                await connection.add_listener(channel, hear)
                wake.hear()  # what other processes told before this one listened
            while True:
                await self._ended.wait()
                if connection.is_closed():
                    raise DatabaseUnavailable
                self._ended.clear()
                channels, self._untold = sorted(self._untold), set()
                try:
                    await self._notify(connection, channels)
                except BaseException:
                    self._untold.update(channels)  # the next connection tells them
                    self._ended.set()
                    raise
                await asyncio.sleep(self._pause_s)

    async def _notify(self, connection: Connection, channels: list[str]) -> None:
        try:
            await queries.wakes.notify(connection, channels=channels)
        except asyncpg.PostgresError as error:
            if is_lost(error):
                raise
            # Such as 54000: a session that does not read its notifications has filled the queue.
            logger.debug("not_notified", channels=channels, error=repr(error))
