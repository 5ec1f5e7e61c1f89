"""Sessions of the primary: what must be checked before each of them reads or writes.

A read must show all that was acknowledged, so no standby may answer it. A write must run where the
epoch of the cluster holds (`engine/epochs`).

PostgreSQL never turns a primary into a standby without a restart, nor changes the timeline of a
primary. So a session that was opened on a primary stays on one timeline, and has been checked for
good when it was opened. One that was opened on a standby is checked each time, until it was found
to be promoted: the name of the primary may lead to a standby during a failover. A pooler may lead
a session to another one of the server's with each transaction. So each BEGIN looks for the mark
that a session of the server gets when its epoch was checked, and reads have a transaction, too.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import structlog

from rowlock.engine.dialling import Connection, Direct, is_closed
from rowlock.engine.faults import is_lost
from rowlock.engine.statements import SAVEPOINT, queries
from rowlock.errors import DatabaseUnavailable, OutcomeUnknown
from rowlock.settings import database_urls
from rowlock.settings.groups import DatabaseSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.database import PrepareSessionRow

Commit: TypeAlias = Callable[[Any], Awaitable[None]]

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the default
# It fails on a standby, with the error below, and needs no further statement for that.
BEGIN_ON_PRIMARY = f"{BEGIN}, READ WRITE; {SAVEPOINT}"
NOT_ON_STANDBY = asyncpg.FeatureNotSupportedError
UNCHECKED = nullcontext()

logger = structlog.get_logger(__name__)


class Sessions:
    """The sessions by which a process uses one database: what must be checked each time."""

    def __init__(self, url: str, settings: DatabaseSettings) -> None:
        self.any_checked = False  # whether one of them must be checked each time
        self._may_move = False  # whether a pooler may lead them to another server
        self._reads_anywhere = database_urls.target(url).accepts_standbys
        self._settings = settings

    async def prepare(self, connection: Direct, *, scans: bool) -> "PrepareSessionRow":
        """Bound what a new session may wait for; return what the server says of it."""
        # Not startup parameters: PgBouncer refuses a connection with any that it does not know.
        settings = self._settings
        [row] = await queries.database.prepare_session(
            connection,
            statement_timeout=f"{settings.statement_timeout_s * 1000:.0f}ms",
            lock_timeout=f"{settings.lock_timeout_s * 1000:.0f}ms",
            idle_in_transaction_session_timeout=(
                f"{settings.idle_in_transaction_timeout_s * 1000:.0f}ms"
            ),
            enable_seqscan="on" if scans else "off",
        )
        return row

    async def opened(self, connection: Direct, *, scans: bool, writes: bool) -> None:
        """Prepare a new session of the pools, and find out what must be checked each time."""
        row = await self.prepare(connection, scans=scans)
        session: Any = connection
        # A pooler shows its clients a process id of its own.
        self._may_move |= row["backend_pid"] != connection.get_server_pid()
        if not self._reads_anywhere:
            session.checks_recovery = row["in_recovery"] or self._may_move
        if writes:
            session.checks_epoch = not await self._holds(connection)
        self.any_checked |= session.checks_recovery or session.checks_epoch

    async def _holds(self, connection: Direct) -> bool:
        """Tell whether the epoch holds in a session for good."""
        try:
            [row] = await queries.epochs.describe_session(connection)
        except asyncpg.UndefinedFunctionError:
            return True  # the schema does not know of epochs yet
        except asyncpg.InsufficientPrivilegeError:
            return False  # so each BEGIN will fail; /readyz says that grants are missing
        return row["holds"] and not self._may_move

    def reading(self, connection: Connection) -> AbstractAsyncContextManager[None]:
        """Let only a primary answer what is read meanwhile, unless the URL accepts a standby.

        Raises ReadOnlySQLTransactionError on a standby.
        """
        if not self.any_checked or not must_check_reads(connection):
            return UNCHECKED
        return self._reading(connection)

    @asynccontextmanager
    async def _reading(self, connection: Connection) -> AsyncIterator[None]:
        try:
            await connection.execute(BEGIN_ON_PRIMARY)
        except NOT_ON_STANDBY:
            raise asyncpg.ReadOnlySQLTransactionError("the server is a standby") from None
        session: Any = connection
        session.note(is_reading=True)
        try:
            yield
        except Exception as error:
            if not is_lost(error) and not is_closed(connection):
                session.note(is_reading=False)
                await connection.execute("ROLLBACK")
            raise
        session.note(is_reading=False)
        await connection.execute("COMMIT")
        if not self._may_move:
            session.note(checks_recovery=False)  # it is promoted

    async def begin(self, connection: Connection, begin: str, commit: Commit) -> None:
        """Run `begin`, and check that the epoch holds in the transaction; begin one if need be.

        `commit` ends the transaction that records it. Raises ReadOnlySQLTransactionError on a
        standby, and DatabaseUnavailable if it is not known whether the epoch was recorded.
        """
        if not await self._begins(connection, begin):
            await self._enter(connection, commit)
            if not await self._begins(connection, begin):
                raise DatabaseUnavailable  # a pooler has moved the session meanwhile
        if not self._may_move:
            settled: Any = connection
            settled.note(checks_epoch=False, checks_recovery=False)

    async def _begins(self, connection: Connection, begin: str) -> bool:
        """Run `begin`; return whether the epoch holds. If it does not, there is no transaction."""
        check = queries.find("epochs/check_session")
        assert check is not None
        try:
            if await connection.execute(f"{begin}; {check.sql}") == "SELECT 1":
                return True
            if await queries.epochs.mark_session(connection):
                return True
        except asyncpg.PostgresError as error:
            if not is_lost(error):
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("ROLLBACK")
        return False

    async def _enter(self, connection: Connection, commit: Commit) -> None:
        """Record a new epoch, unless another process has done so.

        Raises DatabaseUnavailable if that one takes long: its COMMIT may wait for a standby, and
        no write can succeed before.
        """
        await connection.execute(BEGIN)
        try:
            [row] = await queries.epochs.begin(connection)
        except asyncpg.PostgresError as error:
            if not is_lost(error):
                await connection.execute("ROLLBACK")
            if isinstance(error, asyncpg.LockNotAvailableError):
                raise DatabaseUnavailable from error
            raise
        try:
            await commit(connection)
        except OutcomeUnknown as error:  # that of the epoch: nothing else was asked for yet
            raise DatabaseUnavailable from error
        if row["began"]:
            logger.warning("epoch_begun", epoch=row["number"])


def must_check(connection: Connection) -> bool:
    """Tell whether each BEGIN on `connection` must check the epoch."""
    session: Any = connection
    return bool(session.checks_epoch)


def must_check_reads(connection: Connection) -> bool:
    """Tell whether reads on `connection` must check that no standby answers."""
    session: Any = connection
    return bool(session.checks_recovery)
