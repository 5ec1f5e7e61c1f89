"""The connection pool, explicit transactions, and what each SQLSTATE means to the services."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias, cast

import asyncpg
import structlog

from rowlock.engine import dialling, poolers
from rowlock.engine.statements import queries
from rowlock.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    OutcomeUnknown,
    Overloaded,
    UnsupportedPooler,
)
from rowlock.settings.groups import DatabaseSettings

PoolConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnection"

# https://www.postgresql.org/docs/current/errcodes-appendix.html
RETRYABLE = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "23P01",  # exclusion violation: another session took what the decision saw as free
    }
)
BUSY = frozenset({"55P03", "57014"})  # lock timeout, statement timeout: nothing was changed
LOST = frozenset(
    {
        "25006",  # read-only: a standby, or a former primary
        "25P03",  # idle-in-transaction timeout: the server has closed the connection
        "57P01",  # the server is shutting down
        "57P02",  # another backend crashed
        "57P03",  # the server is starting up
    }
)
UNAVAILABLE = LOST | {
    "53100",  # disk full
    "53200",  # out of memory
    "53300",  # too many connections
}
CONNECTION_EXCEPTIONS = "08"
DATA_EXCEPTIONS = "22"
CONSTRAINT_VIOLATIONS = "23"

# Every exception that asyncpg raises when the server, the connection or the statement fails.
DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the connection broke in the middle of an exchange
    OSError,
    TimeoutError,
)

logger = structlog.get_logger(__name__)


def is_retryable(error: BaseException) -> bool:
    """Return whether the transaction may succeed if it runs again unchanged."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRYABLE


def is_refused(error: BaseException) -> bool:
    """Return whether the database rejects the values themselves."""
    classes = (DATA_EXCEPTIONS, CONSTRAINT_VIOLATIONS)
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(classes)


def is_lost(error: BaseException) -> bool:
    """Return whether `error` means that the connection or its server is lost."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        return sqlstate in LOST or sqlstate.startswith(CONNECTION_EXCEPTIONS)
    # TimeoutError: the server has not answered in time, so the connection's state is unknown.
    return isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError)


class PoolUse(NamedTuple):
    """How many connections a pool has, how many of them are lent, and how many callers wait."""

    size: int
    in_use: int
    waiting: int


class Database:
    """A pool of connections to one database. It connects on first use, and again after an outage.

    `connection()` and `transaction()` raise DatabaseUnavailable if the database can't be reached
    or is lost, and DatabaseBusy if a statement or a lock timed out: in both cases nothing was
    changed. `transaction()` raises OutcomeUnknown if the connection is lost during COMMIT.
    """

    def __init__(self, url: str, settings: DatabaseSettings, name: str = "rowlock") -> None:
        self._settings = settings
        self._url = url
        self._acquiring = 0
        self._readers = max(1, settings.pool_connections // 2)
        self._reading = 0
        self._reader_slots = asyncio.Semaphore(self._readers)
        self._options: dict[str, Any] = {
            "timeout": settings.connect_timeout_s,
            "command_timeout": settings.statement_timeout_s + 1,
            "server_settings": {"application_name": name},
        }
        if not settings.prepared_statements:
            self._options["statement_cache_size"] = 0
        self._refused_until = 0.0  # by the loop's clock: the pooler has lost a statement
        self._opened: asyncpg.Pool[asyncpg.Record] | None = None

    async def __aenter__(self) -> "Database":
        self._opened = await asyncpg.create_pool(
            self._url,
            connect=cast("Any", dialling.connect),  # its stub names every argument
            min_size=0,
            max_size=self._settings.pool_connections,
            init=self._set_timeouts,
            reset=_keep_session,
            **self._options,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @property
    def _pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        assert self._opened is not None  # it is used as a context manager
        return self._opened

    async def _set_timeouts(self, connection: Connection) -> None:
        # Not startup parameters: PgBouncer refuses a connection with any that it does not know.
        settings = self._settings
        await queries.database.set_timeouts(
            connection,
            statement_timeout=f"{settings.statement_timeout_s * 1000:.0f}ms",
            lock_timeout=f"{settings.lock_timeout_s * 1000:.0f}ms",
            idle_in_transaction_session_timeout=(
                f"{settings.idle_in_transaction_timeout_s * 1000:.0f}ms"
            ),
        )

    @property
    def pool_use(self) -> PoolUse:
        """What the pool is doing now."""
        size = self._pool.get_size()
        waiting = self._acquiring + max(0, self._reading - self._readers)
        return PoolUse(size, size - self._pool.get_idle_size(), waiting)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection for statements that need no transaction around them."""
        connection = await self._acquire()
        try:
            yield connection
        except DRIVER_ERRORS as error:
            _forget_values(error)
            sqlstate = getattr(error, "sqlstate", None)
            if sqlstate in poolers.LOST_STATEMENTS:
                _discard(connection)
                self._notice_pooler(error)
            if is_lost(error) or _is_closed(connection):
                _discard(connection)
                raise DatabaseUnavailable from error
            if sqlstate in UNAVAILABLE:
                raise DatabaseUnavailable from error
            if sqlstate in BUSY:
                raise DatabaseBusy from error
            raise
        except asyncio.CancelledError:
            _discard(connection)  # the server rolls back
            raise
        finally:
            await self._release(connection)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        """Lend a connection for a read that is not batched, such as a page of a list.

        These reads share half of the pool, so that batches and health checks never wait for them.
        Raises Overloaded if too many reads wait, or if this one has waited too long.
        """
        if self._reading >= self._readers + self._settings.pool_queue:
            raise Overloaded
        self._reading += 1
        try:
            try:
                async with asyncio.timeout(self._settings.acquire_timeout_s):
                    await self._reader_slots.acquire()
            except TimeoutError:
                raise Overloaded from None
            try:
                async with self.connection() as connection:
                    yield connection
            finally:
                self._reader_slots.release()
        finally:
            self._reading -= 1

    async def _release(self, connection: PoolConnection) -> None:
        """Return `connection` to the pool. Never raises: its work may already be committed."""
        try:
            await self._pool.release(connection)
        except DRIVER_ERRORS as error:  # closing a connection that the pool retires may fail
            logger.warning("connection_not_released", error=f"{type(error).__name__}: {error}")
            _discard(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside BEGIN … COMMIT (READ COMMITTED), or ROLLBACK on any error."""
        async with self.connection() as connection:
            transaction = connection.transaction(isolation="read_committed")  # whatever the default
            await transaction.start()
            try:
                yield connection
            except Exception as error:
                if not is_lost(error) and not _is_closed(connection):
                    await transaction.rollback()
                raise
            try:
                await transaction.commit()
            except DRIVER_ERRORS as error:
                if is_lost(error) or _is_closed(connection):
                    _discard(connection)
                    raise OutcomeUnknown from error
                raise

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Connection]:
        """Lend a connection outside the pool, for state that belongs to a session.

        The URL must reach PostgreSQL directly: PgBouncer in transaction mode shares sessions.
        Raises DatabaseUnavailable if the database can't be reached or is lost.
        """
        try:
            connection = await dialling.connect(self._url, **self._options)
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable from error
        try:
            await self._set_timeouts(connection)
            yield connection
        except DRIVER_ERRORS as error:
            _forget_values(error)
            if is_lost(error) or connection.is_closed():
                raise DatabaseUnavailable from error
            raise
        finally:
            connection.terminate()

    async def _acquire(self) -> PoolConnection:
        if self._refused_until and asyncio.get_running_loop().time() < self._refused_until:
            raise UnsupportedPooler
        self._acquiring += 1
        try:
            return await self._pool.acquire(timeout=self._settings.acquire_timeout_s)
        except DRIVER_ERRORS as error:
            self._notice_pooler(error)
            logger.warning("database_unreachable", error=f"{type(error).__name__}: {error}")
            raise DatabaseUnavailable from error
        finally:
            self._acquiring -= 1

    def _notice_pooler(self, error: BaseException) -> None:
        """Raise UnsupportedPooler, and for a while at once, if `error` is a pooler's doing.

        It may lend a session in which a statement of that name is another process's.
        """
        if getattr(error, "sqlstate", None) in poolers.LOST_STATEMENTS:
            self._refused_until = asyncio.get_running_loop().time() + poolers.REFUSED_S
            raise UnsupportedPooler from error


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


def _discard(connection: Connection) -> None:
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _keep_session(_: object) -> None:
    """Do nothing: asyncpg's RESET ALL costs a round trip, and would undo the timeouts."""
