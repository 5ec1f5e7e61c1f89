"""Migrations: plain SQL files in migrations/, applied by yoyo."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from yoyo import default_migration_table, read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import MigrationList

from rowlock.engine.dialling import connect_psycopg
from rowlock.engine.statements import Query, packaged_folder, queries
from rowlock.errors import StartRefused

# Two processes must not migrate one database at once. It is number 1 of the table in docs/dba.md.
LOCK = "1383036780, 1"
ENCODING = "UTF8"
POOLER_TRIES = 5
SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, false)"
LOCK_TIMEOUT_S = 60
# A migration that waits for a table lock blocks every later request: fail early and be run again.
TABLE_LOCK_TIMEOUT_S = 5
# A service that maintains its tables meanwhile may lock them in another order. What a deadlock has
# ended is rolled back, and applied again.
ATTEMPTS = 5


# What a migration makes.
MAKES = re.compile(
    r"^CREATE (?:UNIQUE )?(?:TABLE|INDEX|VIEW|FUNCTION|TYPE|DOMAIN|SEQUENCE)(?: CONCURRENTLY)?"
    r"( IF NOT EXISTS)? (\w+)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Status:
    """Which migrations a database has, and which it lacks, each in order; and its encoding."""

    applied: tuple[str, ...]
    missing: tuple[str, ...]
    encoding: str

    @property
    def encoding_problem(self) -> str | None:
        """Why the database can't hold every text; None if it can."""
        if self.encoding == ENCODING:
            return None
        return (
            f"its encoding is {self.encoding}, which does not have every character: create it with "
            f"ENCODING '{ENCODING}' TEMPLATE template0"
        )


def folder(database: str) -> Path:
    """Return the folder of the migrations of `database`: main or events."""
    return packaged_folder("migrations") / database


def grants(service: str, database: str | None = None) -> str:
    """Return the psql script that grants `service` its rights in its database, or in another."""
    name = service if database is None else f"{service}_{database}"
    return (packaged_folder("migrations") / "grants" / f"{name}.sql").read_text("utf-8")


@cache
def known(database: str) -> tuple[str, ...]:
    """Return the ids of all migrations of `database`, in order."""
    names = (path.name.removesuffix(".sql") for path in folder(database).glob("*.sql"))
    return tuple(sorted(name for name in names if not name.endswith(".rollback")))


def status(url: str, database: str) -> Status:
    """Return the status of the database at `url`. Raises DatabaseUnavailable."""
    with connect_psycopg(url) as connection:
        return _status(connection, database)


def check(url: str, database: str) -> None:
    """Raise StartRefused if something that the missing migrations would make exists already."""
    with connect_psycopg(url) as connection:
        _refuse_unfit(connection, database)


def up(url: str, database: str) -> tuple[str, ...]:
    """Apply the missing migrations, each in its own transaction; return their ids.

    Raises DatabaseUnavailable, and StartRefused while another process migrates the database, or if
    what they would make exists already, or the encoding is not UTF8. Nothing is changed then. Also
    raises StartRefused if the rows break a rule of a migration; those before it stay applied.
    """
    with _alone(url) as guard:
        _refuse_unfit(guard, database)
        before = _status(guard, database).missing
        for left in reversed(range(ATTEMPTS)):
            try:
                _apply_missing(url, database)
                break
            except psycopg.errors.DeadlockDetected:
                if not left:
                    raise
        return before


def _apply_missing(url: str, database: str) -> None:
    with _backend(url) as backend, backend.lock():
        try:
            backend.apply_migrations(backend.to_apply(read_migrations(str(folder(database)))))
        except psycopg.errors.IntegrityError as error:
            diagnosis = error.diag
            told = diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint
            raise StartRefused("\n".join(line for line in told if line)) from error


def down(url: str, database: str, count: int | None = None) -> tuple[str, ...]:
    """Roll back the last `count` migrations, or all if None; return their ids, newest first.

    Raises DatabaseUnavailable, and StartRefused while another process migrates the database.
    """
    with _alone(url), _backend(url) as backend, backend.lock():
        applied = backend.to_rollback(read_migrations(str(folder(database))))
        chosen = applied if count is None else MigrationList(list(applied)[:count])
        backend.rollback_migrations(chosen)
        return tuple(migration.id for migration in chosen)


def _status(connection: psycopg.Connection[tuple[Any, ...]], database: str) -> Status:
    try:
        rows = _rows(connection, queries.find("database/list_applied_migrations"))
        applied = {row["migration_id"] for row in rows}
    except psycopg.errors.UndefinedTable:
        applied = set()
    ids = known(database)
    return Status(
        tuple(name for name in ids if name in applied),
        tuple(name for name in ids if name not in applied),
        connection.info.parameter_status("server_encoding") or "unknown",
    )


def _refuse_unfit(connection: psycopg.Connection[tuple[Any, ...]], database: str) -> None:
    """Raise StartRefused if the database can't hold every text, or has tables of other programs.

    Rowlock's own is what an applied migration has made, and once there is one, an index that may
    exist: an earlier run has left it half-built.
    """
    status = _status(connection, database)
    own = {name for migration in status.applied for _, name in _makes(database, migration)}
    wanted = {
        name
        for migration in status.missing
        for may_exist, name in _makes(database, migration)
        if not (may_exist and status.applied)
    }
    found = _rows(connection, queries.find("database/list_names"))
    taken = [row["name"] for row in found if row["name"] in wanted - own]
    if status.encoding_problem is not None:
        raise StartRefused(f"The {database} database: {status.encoding_problem}.")
    if taken:
        raise StartRefused(
            f"The {database} database already has {', '.join(taken)}, which Rowlock's migrations "
            "would make. Nothing was changed: give Rowlock a database of its own."
        )


def _makes(database: str, migration: str) -> list[tuple[str, str]]:
    """Return the names of what a migration makes, each after IF NOT EXISTS or an empty text."""
    return MAKES.findall((folder(database) / f"{migration}.sql").read_text("utf-8"))


def _rows(
    connection: psycopg.Connection[tuple[Any, ...]], query: Query | None
) -> list[dict[str, Any]]:
    """Return the rows of a statement in sql/."""
    assert query is not None
    return connection.cursor(row_factory=dict_row).execute(query.sql.encode()).fetchall()


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's backend, which opens several connections; each gets the lock timeout.

    They are ours, as yoyo's own reading of a URL knows no list of hosts.
    """

    def connect(self, uri: DatabaseURI) -> psycopg.Connection[tuple[Any, ...]]:
        return connect_psycopg(uri.database)

    def init_connection(self, connection: Any) -> None:
        super().init_connection(connection)
        connection.execute(SET_LOCK_TIMEOUT, (f"{TABLE_LOCK_TIMEOUT_S * 1000:.0f}ms",))


@contextmanager
def _alone(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Lend a connection while this process alone may migrate the database."""
    with connect_psycopg(url) as guard:
        refuse_pooler(guard, url, "rowlock migrate")
        guard.execute(SET_LOCK_TIMEOUT, (f"{LOCK_TIMEOUT_S}s",))
        try:
            guard.execute(f"SELECT pg_advisory_lock({LOCK})".encode())
        except psycopg.errors.LockNotAvailable:
            raise StartRefused("Another process is migrating this database.") from None
        yield guard


def refuse_pooler(connection: psycopg.Connection[tuple[Any, ...]], url: str, command: str) -> None:
    """Raise StartRefused if a pooler lends `connection` another session for each transaction.

    What belongs to a session, a lock or a table, would stay with one that other clients use.
    """
    own = _backend_pid(connection)
    with connect_psycopg(url) as other, other.transaction():
        # Idle so far, `connection` has a session of its own only if this one has another.
        shared = _backend_pid(other) == own
        # And keeps it, while that one is in use. Other clients may make it look so by chance.
        shared = shared or any(_backend_pid(connection) != own for _ in range(POOLER_TRIES))
    if shared:
        raise StartRefused(
            "The database is behind a pooler that shares sessions between transactions, and "
            f"{command} needs one of its own. Nothing was changed: give it a URL that leads to "
            "PostgreSQL directly."
        )


def _backend_pid(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _backend(url: str) -> Iterator[_Backend]:
    """Lend yoyo's backend. The caller is alone.

    yoyo's own lock is a row, which outlives a process that was killed. An advisory lock does not.
    Under the advisory lock, a row that is still there must be a dead process's: it is removed.
    """
    uri = DatabaseURI("postgresql", None, None, None, None, url, {})
    backend = _Backend(uri, default_migration_table)
    try:
        backend.init_database()
        backend.break_lock()
        yield backend
    finally:
        backend.connection.close()
