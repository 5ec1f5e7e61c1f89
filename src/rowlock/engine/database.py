"""The connection pools, and explicit transactions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import structlog

from rowlock.engine import dialling
from rowlock.engine.clusters import Primary
from rowlock.engine.commits import Commits, send_commit
from rowlock.engine.dialling import Direct, Pool, PoolConnection, discard, is_closed
from rowlock.engine.faults import (
    BUSY,
    DRIVER_ERRORS,
    UNAVAILABLE,
    UNWRITABLE,
    Refusal,
    forget_values,
    is_lost,
)
from rowlock.engine.outage import Outage
from rowlock.engine.sessions import BEGIN, UNCHECKED, Sessions, must_check
from rowlock.engine.slots import PoolUse, Slots
from rowlock.engine.standbys import Standbys
from rowlock.engine.tasks import Task
from rowlock.engine.watcher import Watcher
from rowlock.errors import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown
from rowlock.settings.groups import DatabaseSettings

Connection: TypeAlias = dialling.Connection

T = TypeVar("T")

logger = structlog.get_logger(__name__)


class Database:
    """Two pools of connections to one database: for batches and tasks, and for lists.

    They connect on first use, and again after an outage. Where the URL has several hosts, they lead
    to the primary, which a watcher finds: when another one is promoted, all connections to the
    former one are ended. Batches find rows by an index even where the statistics are out of date,
    as sequential scans are off there: a plan that was made for an empty table, such as that of a
    foreign key, stays for as long as its connection. Lists, and the `scans` of a command, may read
    whole tables.

    `connection()` and `transaction()` raise DatabaseUnavailable if the database can't be reached
    or is lost, and DatabaseBusy if a statement or a lock timed out: in both cases nothing was
    changed. `transaction()` raises OutcomeUnknown if the connection is lost during COMMIT, or if
    that takes too long.
    """

    def __init__(
        self,
        url: str,
        settings: DatabaseSettings,
        name: str = "rowlock",
        *,
        scans: bool = False,
        read_url: str | None = None,
        supervised: bool = False,
    ) -> None:
        """`name` is that of its connections; `read_url` leads to standbys, for lists.

        If `supervised`, the caller runs the `tasks`.
        """
        self._settings = settings
        self._url = url
        self._scans = scans
        self._acquiring = 0
        self._lists = max(1, settings.pool_connections // 2)
        self._batches = max(1, settings.pool_connections - self._lists)
        self._list_slots = Slots(self._lists, settings.pool_queue, settings.acquire_timeout_s)
        # Reads find a connection even if every COMMIT hangs.
        self._write_slots = asyncio.Semaphore(max(1, self._batches - 1))
        self._commits = Commits(settings.statement_timeout_s + 1, self._give_back)
        self._options: dict[str, Any] = {
            "timeout": settings.connect_timeout_s,
            "command_timeout": settings.statement_timeout_s + 1,
            "server_settings": {"application_name": name},
            "statement_cache_size": 100 if settings.prepared_statements else 0,
        }
        self.answered = 0.0  # when it last did what it was asked, by the loop's clock
        self.refusal: Refusal | None = None  # the last one
        self.outage = Outage(name, self._reach)
        self._sessions = Sessions(url, settings)
        self._watcher = Watcher.of(url, f"{name}-watcher", settings.watch_s)
        self._supervised = supervised
        self._running: list[asyncio.Task[None]] = []
        self._opened: tuple[Pool, Pool] | None = None
        self.standbys: Standbys | None = None
        if read_url is not None:
            prepare = partial(self._sessions.prepare, scans=True)
            self.standbys = Standbys((url, read_url), settings, self._lists, prepare, self._options)

    async def __aenter__(self) -> "Database":
        shared = self._settings.pool_connections == 1
        batches = await self._open(self._batches, scans=self._scans, writes=True)
        lists = batches if shared else await self._open(self._lists, scans=True)
        self._opened = batches, lists
        if self.standbys is not None:
            await self.standbys.open()
        if not self._supervised:
            self._running = [asyncio.create_task(_run(task), name=task.name) for task in self.tasks]
        return self

    async def _open(self, connections: int, *, scans: bool, writes: bool = False) -> Pool:
        prepare = partial(self._sessions.opened, scans=scans, writes=writes)
        return await dialling.open_pool(
            self._dial, self._url, connections, prepare, **self._options
        )

    async def __aexit__(self, *_: object) -> None:
        await self.outage.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self.standbys is not None:
            await self.standbys.close()
        await self._commits.close()
        for pool in self._pools:
            with contextlib.suppress(*DRIVER_ERRORS):  # of connections that were lost meanwhile
                await pool.close()

    @property
    def _pools(self) -> tuple[Pool, Pool]:
        assert self._opened is not None  # it is used as a context manager
        return self._opened

    @property
    def tasks(self) -> Sequence[Task]:
        """What runs in the background: what watches several hosts, and standbys."""
        watching = (self._watcher, self.standbys)
        return [task for each in watching if each is not None for task in each.tasks]

    @property
    def primary(self) -> Primary | None:
        """The primary among several hosts; None while there is none, or with one host."""
        return None if self._watcher is None else self._watcher.cluster.primary

    @property
    def era(self) -> int:
        """A number that rises as an outage is suspected or over, and as the primary changes."""
        return self.outage.changes + (0 if self._watcher is None else self._watcher.cluster.changes)

    @property
    def pool_use(self) -> PoolUse:
        """What the pools are doing now, together."""
        size = sum(pool.get_size() for pool in set(self._pools))
        idle = sum(pool.get_idle_size() for pool in set(self._pools))
        return PoolUse(size, size - idle, self._acquiring + self._list_slots.waiting)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for reads that need no transaction around them.

        What is read shows all that was acknowledged before: no standby answers, unless the URL
        asks for one. Not for writes: each would be a transaction that the driver may cancel during
        its COMMIT.
        """
        return self._lend(self._pools[0], reads=True)

    @asynccontextmanager
    async def _lend(self, pool: Pool, *, reads: bool = False) -> AsyncIterator[PoolConnection]:
        connection = await self._acquire(pool)
        lent = asyncio.get_running_loop().time()
        try:
            async with self._sessions.reading(connection) if reads else UNCHECKED:
                yield connection
            self.answered = asyncio.get_running_loop().time()
            if self.outage.is_suspected:
                self.outage.end()
        except DRIVER_ERRORS as error:
            forget_values(error)
            sqlstate = getattr(error, "sqlstate", None)
            if sqlstate in UNWRITABLE:
                self.refusal = Refusal(asyncio.get_running_loop().time(), sqlstate)
            if is_lost(error) or is_closed(connection):
                discard(connection)
                if isinstance(error, TimeoutError):  # the server would have ended the statement
                    self.outage.suspect(error, max(lent, self.answered))
                raise DatabaseUnavailable from error
            if sqlstate in UNAVAILABLE:
                raise DatabaseUnavailable from error
            if sqlstate in BUSY:
                raise DatabaseBusy from error
            raise
        except asyncio.CancelledError:
            if connection not in self._commits.abandoned:
                discard(connection)  # the server rolls back
            raise
        finally:
            if connection not in self._commits.abandoned:
                await self._release(pool, connection)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        """Lend a connection for a read that is not batched, such as a page of a list.

        These reads have half of the connections, so that batches and health checks never wait for
        them. Raises Overloaded if too many reads wait, or if this one has waited too long.
        """
        async with (
            self._list_slots.taken(),
            self._lend(self._pools[1], reads=True) as connection,
        ):
            yield connection

    async def read(
        self,
        work: Callable[[Connection], Awaitable[T]],
        suffices: Callable[[T], bool] = lambda _: True,
        *,
        is_fresh: bool = False,
    ) -> T:
        """Return what `work` reads for a list: on a standby that is near enough, else here.

        Nothing that a command decides may rest on it: it may be ROWLOCK_READ_LAG_S old, unless it
        `is_fresh`. What fails on a standby, or does not suffice, is read again here, where lists
        have their own connections. Raises as `reader` does, and what `work` raises.
        """
        if self.standbys is not None and not is_fresh:
            found = await self.standbys.read(work, suffices)
            if found is not None:
                return found.value
        async with self.reader() as connection:
            return await work(connection)

    async def _release(self, pool: Pool, connection: PoolConnection) -> None:
        """Return `connection` to its pool. Never raises: its work may already be committed."""
        try:
            await pool.release(connection, timeout=self._settings.acquire_timeout_s)
        except DRIVER_ERRORS as error:  # closing a connection that the pool retires may fail
            _warn("connection_not_released", error)
            discard(connection)

    @asynccontextmanager
    async def transaction(self, *, patience_s: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection inside BEGIN … COMMIT (READ COMMITTED), or ROLLBACK on any error.

        It waits for a lock for `patience_s` at most, where that is less than lock_timeout.
        """
        begin = BEGIN
        if patience_s is not None and patience_s < self._settings.lock_timeout_s:
            begin += f"; SET LOCAL lock_timeout = '{patience_s * 1000:.0f}ms'"
        await self._wait_to_write()
        connection = None
        try:
            async with self._lend(self._pools[0]) as connection:
                # Almost always, opening the session was the check: see engine/sessions.
                if self._sessions.any_checked and must_check(connection):
                    await self._sessions.begin(connection, begin, self._commits.send)
                else:
                    await connection.execute(begin)
                try:
                    yield connection
                except Exception as error:
                    if not is_lost(error) and not is_closed(connection):
                        await connection.execute("ROLLBACK")
                    raise
                await self._commits.send(connection)
        finally:
            if connection not in self._commits.abandoned:
                self._write_slots.release()

    async def _wait_to_write(self) -> None:
        if not self._write_slots.locked():
            await self._write_slots.acquire()  # at once
            return
        self._acquiring += 1
        try:
            async with asyncio.timeout(self._settings.acquire_timeout_s):
                await self._write_slots.acquire()
        except TimeoutError:
            raise DatabaseUnavailable from None
        finally:
            self._acquiring -= 1

    async def _give_back(self, connection: PoolConnection) -> None:
        """Give back the connection of an abandoned COMMIT that is over, and its turn to write."""
        self._write_slots.release()
        await self._release(self._pools[0], connection)

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Connection]:
        """Lend a connection outside the pool, for state that belongs to a session.

        The URL must reach PostgreSQL directly: PgBouncer in transaction mode shares sessions.
        Raises DatabaseUnavailable if the database can't be reached or is lost.
        """
        try:
            connection = await self.connect()
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable from error
        try:
            yield connection
        except DRIVER_ERRORS as error:
            forget_values(error)
            if is_lost(error) or connection.is_closed():
                raise DatabaseUnavailable from error
            raise
        finally:
            connection.terminate()

    @asynccontextmanager
    async def transaction_on(self, connection: Connection) -> AsyncIterator[None]:
        """Do on a `dedicated` connection what `transaction` does on one of the pool's.

        Raises OutcomeUnknown if the connection is lost during COMMIT. If the caller is cancelled
        then, the COMMIT is not: its connection is closed.
        """
        await self._sessions.begin(connection, BEGIN, send_commit)
        try:
            yield
        except Exception as error:
            if not is_lost(error) and not is_closed(connection):
                await connection.execute("ROLLBACK")
            raise
        try:
            await send_commit(connection)
        except DRIVER_ERRORS as error:
            if is_lost(error) or is_closed(connection):
                raise OutcomeUnknown from error
            raise

    async def connect(self, name: str | None = None, *, patient: bool = False) -> Direct:
        """Open a connection outside the pool, which the caller terminates.

        `name` is its application_name. If `patient`, its statements have no time limit here, so
        that the driver never cancels one. Raises one of DRIVER_ERRORS.
        """
        options = dict(self._options)
        if name is not None:
            options["server_settings"] = {"application_name": name}
        if patient:
            options["command_timeout"] = None
        connection = await self._dial(self._url, **options)
        try:
            await self._sessions.prepare(connection, scans=self._scans)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _dial(self, url: str, **options: Any) -> Direct:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            return await dialling.connect(url, **options)
        except DRIVER_ERRORS as error:
            if is_lost(error):
                self.outage.suspect(error, max(started, self.answered))
            raise
        except asyncio.CancelledError:
            if loop.time() - started > 0.9 * self._settings.acquire_timeout_s:  # `_acquire` gave up
                self.outage.suspect(TimeoutError(), max(started, self.answered))
            raise

    async def _reach(self) -> None:
        """Get an answer over a connection of the pool; over another one while all are at work."""
        pool = self._pools[0]
        if pool.get_idle_size() or pool.get_size() < pool.get_max_size():
            async with self._lend(pool) as connection:
                await connection.execute("SELECT 1")
        else:
            (await self.connect()).terminate()
            self.outage.end()

    async def _acquire(self, pool: Pool) -> PoolConnection:
        self._acquiring += 1
        try:
            # Not by the pool's own timeout, which costs a task for each connection that is lent.
            async with asyncio.timeout(self._settings.acquire_timeout_s):
                return await pool.acquire()
        except DRIVER_ERRORS as error:
            if not self.outage.is_suspected:  # all are in use, or the server refuses this one
                _warn("no_connection", error)
            raise DatabaseUnavailable from error
        finally:
            self._acquiring -= 1


async def _run(task: Task) -> None:
    await task.run()


def _warn(event: str, error: BaseException) -> None:
    """Log a warning. Never raises: a log that can't be written must not change an outcome."""
    with contextlib.suppress(Exception):
        logger.warning(event, error=f"{type(error).__name__}: {error}")
