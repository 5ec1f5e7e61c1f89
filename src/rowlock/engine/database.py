"""The connection pools, and explicit transactions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import structlog

from rowlock.engine import dialling
from rowlock.engine.faults import BUSY, DRIVER_ERRORS, UNAVAILABLE, UNWRITABLE, is_lost
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown, Overloaded
from rowlock.settings.groups import DatabaseSettings

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
PoolConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnection"

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the default
NO_TIMEOUT_S = 1e9  # decades; None would be the connection's own timeout

logger = structlog.get_logger(__name__)


class PoolUse(NamedTuple):
    """How many connections a pool has, how many of them are lent, and how many callers wait."""

    size: int
    in_use: int
    waiting: int


class Refusal(NamedTuple):
    """That the database refused a transaction for the state that it is in."""

    at: float  # by the loop's clock
    sqlstate: str


class Database:
    """Two pools of connections to one database: for batches and tasks, and for lists.

    They connect on first use, and again after an outage. Batches find rows by an index even where
    the statistics are out of date, as sequential scans are off there: a plan that was made for an
    empty table, such as that of a foreign key, stays for as long as its connection. Lists, and the
    `scans` of a command, may read whole tables.

    `connection()` and `transaction()` raise DatabaseUnavailable if the database can't be reached
    or is lost, and DatabaseBusy if a statement or a lock timed out: in both cases nothing was
    changed. `transaction()` raises OutcomeUnknown if the connection is lost during COMMIT, or if
    that takes too long.
    """

    def __init__(
        self, url: str, settings: DatabaseSettings, name: str = "rowlock", *, scans: bool = False
    ) -> None:
        self._settings = settings
        self._url = url
        self._scans = scans
        self._acquiring = 0
        self._lists = max(1, settings.pool_connections // 2)
        self._batches = max(1, settings.pool_connections - self._lists)
        self._listing = 0
        self._list_slots = asyncio.Semaphore(self._lists)
        # Reads find a connection even if every COMMIT hangs.
        self._write_slots = asyncio.Semaphore(max(1, self._batches - 1))
        # What keeps the place of an abandoned COMMIT, by its connection.
        self._abandoned: dict[PoolConnection, asyncio.Task[None]] = {}
        self._options: dict[str, Any] = {
            "timeout": settings.connect_timeout_s,
            "command_timeout": settings.statement_timeout_s + 1,
            "server_settings": {"application_name": name},
            "statement_cache_size": 100 if settings.prepared_statements else 0,
        }
        self.answered = 0.0  # when it last did what it was asked, by the loop's clock
        self.refusal: Refusal | None = None  # the last one
        self._opened: tuple[Pool, Pool] | None = None

    async def __aenter__(self) -> "Database":
        shared = self._settings.pool_connections == 1
        batches = await self._open(self._batches, scans=self._scans)
        lists = batches if shared else await self._open(self._lists, scans=True)
        self._opened = batches, lists
        return self

    async def _open(self, connections: int, *, scans: bool) -> Pool:
        prepare = partial(self._prepare, scans=scans)
        return await dialling.open_pool(self._url, connections, prepare, **self._options)

    async def __aexit__(self, *_: object) -> None:
        # Closed, not cancelled: the server goes on with them.
        for connection, place in list(self._abandoned.items()):
            _discard(connection)
            await asyncio.wait([place])
        for pool in self._pools:
            await pool.close()

    @property
    def _pools(self) -> tuple[Pool, Pool]:
        assert self._opened is not None  # it is used as a context manager
        return self._opened

    async def _prepare(self, connection: Connection, *, scans: bool) -> None:
        # Not startup parameters: PgBouncer refuses a connection with any that it does not know.
        settings = self._settings
        await queries.database.prepare_session(
            connection,
            statement_timeout=f"{settings.statement_timeout_s * 1000:.0f}ms",
            lock_timeout=f"{settings.lock_timeout_s * 1000:.0f}ms",
            idle_in_transaction_session_timeout=(
                f"{settings.idle_in_transaction_timeout_s * 1000:.0f}ms"
            ),
            enable_seqscan="on" if scans else "off",
        )

    @property
    def pool_use(self) -> PoolUse:
        """What the pools are doing now, together."""
        size = sum(pool.get_size() for pool in set(self._pools))
        idle = sum(pool.get_idle_size() for pool in set(self._pools))
        return PoolUse(size, size - idle, self._acquiring + max(0, self._listing - self._lists))

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for reads that need no transaction around them.

        Not for writes: each would be a transaction that the driver may cancel during its COMMIT.
        """
        return self._lend(self._pools[0])

    @asynccontextmanager
    async def _lend(self, pool: Pool) -> AsyncIterator[PoolConnection]:
        connection = await self._acquire(pool)
        try:
            yield connection
            self.answered = asyncio.get_running_loop().time()
        except DRIVER_ERRORS as error:
            _forget_values(error)
            sqlstate = getattr(error, "sqlstate", None)
            if sqlstate in UNWRITABLE:
                self.refusal = Refusal(asyncio.get_running_loop().time(), sqlstate)
            if is_lost(error) or _is_closed(connection):
                _discard(connection)
                raise DatabaseUnavailable from error
            if sqlstate in UNAVAILABLE:
                raise DatabaseUnavailable from error
            if sqlstate in BUSY:
                raise DatabaseBusy from error
            raise
        except asyncio.CancelledError:
            if connection not in self._abandoned:
                _discard(connection)  # the server rolls back
            raise
        finally:
            if connection not in self._abandoned:
                await self._release(pool, connection)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        """Lend a connection for a read that is not batched, such as a page of a list.

        These reads have half of the connections, so that batches and health checks never wait for
        them. Raises Overloaded if too many reads wait, or if this one has waited too long.
        """
        if self._listing >= self._lists + self._settings.pool_queue:
            raise Overloaded
        self._listing += 1
        try:
            try:
                async with asyncio.timeout(self._settings.acquire_timeout_s):
                    await self._list_slots.acquire()
            except TimeoutError:
                raise Overloaded from None
            try:
                async with self._lend(self._pools[1]) as connection:
                    yield connection
            finally:
                self._list_slots.release()
        finally:
            self._listing -= 1

    async def _release(self, pool: Pool, connection: PoolConnection) -> None:
        """Return `connection` to its pool. Never raises: its work may already be committed."""
        try:
            await pool.release(connection, timeout=self._settings.acquire_timeout_s)
        except DRIVER_ERRORS as error:  # closing a connection that the pool retires may fail
            _warn("connection_not_released", error)
            _discard(connection)

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
                await connection.execute(begin)
                try:
                    yield connection
                except Exception as error:
                    if not is_lost(error) and not _is_closed(connection):
                        await connection.execute("ROLLBACK")
                    raise
                await self._commit(connection)
        finally:
            if connection not in self._abandoned:
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

    async def _commit(self, connection: PoolConnection) -> None:
        """Commit, or raise OutcomeUnknown if that takes too long, or the connection is lost.

        A COMMIT that waits for a synchronous standby is never cancelled: PostgreSQL would then
        publish a transaction that no standby has. Its connection keeps its place in the pool, and
        its turn to write, until the server has answered or is gone.
        """
        loop = asyncio.get_running_loop()
        commit = loop.create_task(_send_commit(connection))
        # As asyncio.wait does, in half the time.
        over = loop.create_future()
        commit.add_done_callback(partial(_end, over))
        timer = loop.call_later(self._settings.statement_timeout_s + 1, _end, over)
        try:
            await over
        finally:
            timer.cancel()
            if not commit.done():
                self._abandoned[connection] = asyncio.create_task(
                    self._keep_place(connection, commit)
                )
        if not commit.done():
            raise OutcomeUnknown
        try:
            commit.result()
        except DRIVER_ERRORS as error:
            if is_lost(error) or _is_closed(connection):
                _discard(connection)
                raise OutcomeUnknown from error
            raise

    async def _keep_place(self, connection: PoolConnection, commit: asyncio.Task[None]) -> None:
        """Give back the connection of an abandoned COMMIT, and its turn, once that is over."""
        await asyncio.wait([commit])
        if commit.cancelled() or commit.exception() is not None:
            _discard(connection)
        del self._abandoned[connection]
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
            _forget_values(error)
            if is_lost(error) or connection.is_closed():
                raise DatabaseUnavailable from error
            raise
        finally:
            connection.terminate()

    async def connect(
        self, name: str | None = None, *, patient: bool = False
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection outside the pool, which the caller terminates.

        `name` is its application_name. If `patient`, its statements have no time limit here, so
        that the driver never cancels one. Raises one of DRIVER_ERRORS.
        """
        options = dict(self._options)
        if name is not None:
            options["server_settings"] = {"application_name": name}
        if patient:
            options["command_timeout"] = None
        connection = await dialling.connect(self._url, **options)
        try:
            await self._prepare(connection, scans=self._scans)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _acquire(self, pool: Pool) -> PoolConnection:
        self._acquiring += 1
        try:
            # Not by the pool's own timeout, which costs a task for each connection that is lent.
            async with asyncio.timeout(self._settings.acquire_timeout_s):
                return await pool.acquire()
        except DRIVER_ERRORS as error:
            _warn("database_unreachable", error)
            raise DatabaseUnavailable from error
        finally:
            self._acquiring -= 1


def _end(over: asyncio.Future[None], *_: object) -> None:
    if not over.done():
        over.set_result(None)


async def _send_commit(connection: PoolConnection) -> None:
    """Send COMMIT and wait for its answer without end. If cancelled, close the connection.

    The driver would ask the server to cancel the COMMIT; on a closed connection it does not.
    """
    try:
        status = await connection.execute("COMMIT", timeout=NO_TIMEOUT_S)
    except asyncio.CancelledError:
        _discard(connection)
        raise
    if status != "COMMIT":
        raise RuntimeError("a statement of the transaction has failed: it was rolled back")


def _forget_values(error: BaseException) -> None:
    """Remove quoted rows and arguments from `error`; they must not reach the log."""
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None
    if isinstance(error, asyncpg.DataError):
        error.args = (str(error.args[0]).partition(":")[0],)


def _is_closed(connection: Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # the pool has already taken the broken connection back


def _warn(event: str, error: BaseException) -> None:
    """Log a warning. Never raises: a log that can't be written must not change an outcome."""
    with contextlib.suppress(Exception):
        logger.warning(event, error=f"{type(error).__name__}: {error}")


def _discard(connection: Connection) -> None:
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()
