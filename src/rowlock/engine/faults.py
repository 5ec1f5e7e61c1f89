"""What the driver raises, and what each SQLSTATE means to the services."""

from typing import NamedTuple

import asyncpg

from rowlock.engine.statements import is_stale

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
UNWRITABLE = frozenset({"25006", "53100"})  # read-only, disk full: so is the next one
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


class Refusal(NamedTuple):
    """A refusal of the database, because of its state, to run a transaction."""

    at: float  # by the loop's clock
    sqlstate: str


class Conflict(Exception):
    """Another transaction has just taken what this one saw as free: run it again."""


def is_retryable(error: BaseException) -> bool:
    """Return whether the transaction may succeed if it runs again unchanged."""
    if isinstance(error, Conflict):
        return True
    has_conflict = isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRYABLE
    return has_conflict or is_stale(error)


def is_refused(error: BaseException) -> bool:
    """Return whether the database rejects the values themselves."""
    classes = (DATA_EXCEPTIONS, CONSTRAINT_VIOLATIONS)
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(classes)


def is_lost(error: BaseException) -> bool:
    """Return whether `error` means that the connection or its server is lost."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        return sqlstate in LOST or sqlstate.startswith(CONNECTION_EXCEPTIONS)
    if is_stale(error):
        return False
    # TimeoutError: the server has not answered in time, so the connection's state is unknown.
    return isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError)


def forget_values(error: BaseException) -> None:
    """Remove quoted rows and arguments from `error`; they must not reach the log."""
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None
    if isinstance(error, asyncpg.DataError):
        error.args = (str(error.args[0]).partition(":")[0],)
