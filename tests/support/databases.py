"""Databases of a test's own: cloned, or borrowed, which takes a tenth of the time."""

import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import asyncpg
import psycopg
from psycopg import sql

from tests.support.types import Connection

TABLES = (
    "SELECT oid::regclass::text FROM pg_class "
    "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
)
# All that is defined there and did not come with the server: a change is a new version of a row.
SCHEMA = """
    SELECT array_agg(version ORDER BY version) FROM (
        SELECT (oid, xmin)::text FROM pg_class WHERE oid >= 16384
        UNION ALL
        SELECT (attrelid, attnum, xmin)::text FROM pg_attribute WHERE attrelid >= 16384
        UNION ALL
        SELECT (oid, xmin)::text FROM pg_trigger
        UNION ALL
        SELECT (oid, xmin)::text FROM pg_proc WHERE oid >= 16384
    ) AS versions (version)"""
END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'"""
RESTORER = "restorer"  # the name of the session that stays in a lent database

Look: TypeAlias = Callable[[psycopg.Connection[Any]], None]

_numbers = itertools.count(1)


def on_server(server_url: str, statement: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement)


def rename(url: str, database: str) -> str:
    """Return `url` with another database."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    _, question, query = path.partition("?")
    return f"{scheme}://{authority}/{database}{question}{query}"


@contextmanager
def cloned(server_url: str, source: str) -> Iterator[str]:
    """Lend the URL of a copy of the database `source`."""
    name = f"rowlock_test_{os.getpid()}_{next(_numbers)}"
    # Half the work of the default, which takes the copy through the log.
    on_server(server_url, f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY file_copy")
    try:
        yield rename(server_url, name)
    finally:
        on_server(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def rolled_back(url: str) -> AsyncIterator[Connection]:
    """A connection in a transaction that is rolled back: nothing is left of what is done there."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


class Databases:
    """Equal databases, each lent to one borrower at a time.

    One that has come back is restored before it is lent again, unless its schema was changed. Not
    sooner: services of the test that borrowed it may live a little longer than the loan.
    """

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._free: list[_Restorable] = []

    @contextmanager
    def lent(self, look: Look = lambda _: None) -> Iterator[str]:
        """Lend the URL of one; `look` at it when it comes back, unless its schema was changed."""
        database = self._take()
        try:
            yield database.url
            if database.show(look):
                self._free.append(database)
        finally:
            if database not in self._free:
                database.close()

    def _take(self) -> "_Restorable":
        if not self._free:
            return _Restorable(self._make())
        database = self._free.pop()
        database.restore()
        return database

    def close(self) -> None:
        """End the sessions that restore them."""
        while self._free:
            self._free.pop().close()


class _Restorable:
    """A database that can be made again what it is now.

    Its session stays: a new one would first have to read the catalogue, which takes the server ten
    times as long as to restore the rows.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = _session(url)
        tables = [name for [name] in self._session.execute(TABLES)]
        rows = {table: _rows(self._session, table) for table in tables}
        self._schema = self._session.execute(SCHEMA).fetchone()
        self._restore = ";".join(
            [
                "SET session_replication_role = replica",  # the ledger is append-only
                *(f"DELETE FROM {table}" for table in tables),
                *(
                    f"INSERT INTO {table} OVERRIDING SYSTEM VALUE "
                    f"SELECT * FROM json_populate_recordset(NULL::{table}, {sql.quote(json)})"
                    for table, json in rows.items()
                    if json
                ),
                "SELECT setval(seqrelid::regclass, 1, false) FROM pg_sequence",
                # Now, and not while the next borrower counts what it reads and writes.
                "SELECT pg_stat_force_next_flush()",
            ]
        )

    def show(self, look: Look) -> bool:
        """End the sessions there, and look. Return False if the schema was changed."""
        try:
            self._end_sessions()
        except psycopg.OperationalError:  # the borrower has ended this session, too
            self._session.close()
            self._session = _session(self.url)
            self._end_sessions()
        if self._session.execute(SCHEMA).fetchone() != self._schema:
            return False
        look(self._session)
        return True

    def restore(self) -> None:
        """End the sessions there, and restore the rows."""
        self._end_sessions()
        self._session.execute(self._restore.encode())

    def _end_sessions(self) -> None:
        while self._session.execute(END_SESSIONS).fetchall():
            time.sleep(0.001)  # they are on their way out

    def close(self) -> None:
        self._session.close()


def _session(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, application_name=RESTORER)


def _rows(connection: psycopg.Connection[Any], table: str) -> str | None:
    """The rows of `table` as a JSON array, if it has any."""
    row = connection.execute(f"SELECT json_agg(t)::text FROM {table} AS t".encode()).fetchone()
    return row[0] if row else None
