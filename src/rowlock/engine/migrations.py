"""Migrations: plain SQL files in migrations/, applied by yoyo."""

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
from yoyo.connections import parse_uri
from yoyo.migrations import MigrationList

from rowlock.engine.statements import packaged_folder, queries
from rowlock.errors import DatabaseUnavailable, StartRefused

# Two processes must not migrate one database at once. The first lock is number 1 of the table in
# sql/README.md. The second is that of release 0.1.0, which may be migrating at the same time.
LOCKS = ("1383036780, 1", "23203506801304427")
CONNECT_TIMEOUT_S = 5
ENCODING = "UTF8"
SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, false)"
LOCK_TIMEOUT_S = 60
# A migration that waits for a table lock blocks every later request: fail early and be run again.
TABLE_LOCK_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Status:
    """Which migrations a database has, and which it lacks, each in order."""

    applied: tuple[str, ...]
    missing: tuple[str, ...]


def folder(database: str) -> Path:
    """Return the folder of the migrations of `database`: main or events."""
    return packaged_folder("migrations") / database


def grants(service: str) -> str:
    """Return the psql script that grants `service` its rights in its database."""
    return (packaged_folder("migrations") / "grants" / f"{service}.sql").read_text("utf-8")


@cache
def known(database: str) -> tuple[str, ...]:
    """Return the ids of all migrations of `database`, in order."""
    names = (path.name.removesuffix(".sql") for path in folder(database).glob("*.sql"))
    return tuple(sorted(name for name in names if not name.endswith(".rollback")))


def status(url: str, database: str) -> Status:
    """Return the status of the database at `url`. Raises DatabaseUnavailable."""
    query = queries.find("database/list_applied_migrations")
    assert query is not None
    with _connect(url) as connection:
        try:
            rows = connection.cursor(row_factory=dict_row).execute(query.sql.encode())
            applied = {row["migration_id"] for row in rows}
        except psycopg.errors.UndefinedTable:
            applied = set()
    ids = known(database)
    return Status(
        tuple(name for name in ids if name in applied),
        tuple(name for name in ids if name not in applied),
    )


def encoding_problem(url: str) -> str | None:
    """Return why the database at `url` can't hold every text; None if it can.

    Raises DatabaseUnavailable.
    """
    with _connect(url) as connection:
        encoding = connection.info.parameter_status("server_encoding")
    if encoding == ENCODING:
        return None
    return f"its encoding is {encoding}; create it with ENCODING '{ENCODING}' TEMPLATE template0"


def up(url: str, database: str) -> tuple[str, ...]:
    """Apply the missing migrations, each in its own transaction; return their ids.

    Raises DatabaseUnavailable, and StartRefused while another process migrates the database, or if
    its encoding is not UTF8.
    """
    problem = encoding_problem(url)
    if problem is not None:
        raise StartRefused(f"The {database} database can't be migrated: {problem}.")
    with _backend(url) as backend, backend.lock():
        missing = backend.to_apply(read_migrations(str(folder(database))))
        backend.apply_migrations(missing)
        return tuple(migration.id for migration in missing)


def down(url: str, database: str, count: int | None = None) -> tuple[str, ...]:
    """Roll back the last `count` migrations, or all if None; return their ids, newest first.

    Raises as `up` does.
    """
    with _backend(url) as backend, backend.lock():
        applied = backend.to_rollback(read_migrations(str(folder(database))))
        chosen = applied if count is None else MigrationList(list(applied)[:count])
        backend.rollback_migrations(chosen)
        return tuple(migration.id for migration in chosen)


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's backend, which opens several connections; each gets the lock timeout."""

    def init_connection(self, connection: Any) -> None:
        super().init_connection(connection)
        connection.execute(SET_LOCK_TIMEOUT, (f"{TABLE_LOCK_TIMEOUT_S * 1000:.0f}ms",))


@contextmanager
def _backend(url: str) -> Iterator[_Backend]:
    """Lend yoyo's backend while this process alone may migrate the database.

    yoyo's own lock is a row, which outlives a process that was killed. An advisory lock does not.
    Under the advisory lock, a row that is still there must be a dead process's: it is removed.
    """
    with _connect(url) as guard:
        guard.execute(SET_LOCK_TIMEOUT, (f"{LOCK_TIMEOUT_S}s",))
        try:
            for lock in LOCKS:
                guard.execute(f"SELECT pg_advisory_lock({lock})".encode())
        except psycopg.errors.LockNotAvailable:
            raise StartRefused("Another process is migrating this database.") from None
        backend = _Backend(parse_uri(url), default_migration_table)
        try:
            backend.init_database()
            backend.break_lock()
            yield backend
        finally:
            backend.connection.close()


def _connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database can't be reached: {error}") from error
