"""Databases of a test's own: cloned, or borrowed, which takes a tenth of the time."""

import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

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
    on_server(server_url, f"CREATE DATABASE {name} TEMPLATE {source}")
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

    One that comes back is restored and lent again, unless its schema was changed.
    """

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._free: list[_Restorable] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Lend the URL of one."""
        database = self._free.pop() if self._free else _Restorable(self._make())
        yield database.url
        if database.restore():
            self._free.append(database)


class _Restorable:
    """A database that can be made again what it is now."""

    def __init__(self, url: str) -> None:
        self.url = url
        with psycopg.connect(url) as connection:
            tables = [name for [name] in connection.execute(TABLES)]
            rows = {table: _rows(connection, table) for table in tables}
            self._schema = connection.execute(SCHEMA).fetchone()
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
            ]
        )

    def restore(self) -> bool:
        """End the sessions there and restore the rows; return False if the schema was changed."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(END_SESSIONS).fetchall():
                time.sleep(0.001)  # they are on their way out
            if connection.execute(SCHEMA).fetchone() != self._schema:
                return False
            connection.execute(self._restore)
            return True


def _rows(connection: psycopg.Connection[Any], table: str) -> str | None:
    """The rows of `table` as a JSON array, if it has any."""
    row = connection.execute(f"SELECT json_agg(t)::text FROM {table} AS t".encode()).fetchone()
    return row[0] if row else None
