"""`rowlock sql top`, on a PostgreSQL 15 with pg_stat_statements, and on one without it."""

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import asyncpg
import psycopg
import pytest

from rowlock.engine import migrations
from rowlock.engine.contracts import databases_of, has_plan
from rowlock.engine.statements import Query, queries
from rowlock.engine.top import OTHERS, find_query_id
from tests.support.processes import rowlock
from tests.support.types import Connection

DEBIANS = Path("/usr/lib/postgresql/15/bin")
on_debians_15 = pytest.mark.skipif(
    not (DEBIANS / "initdb").exists(),
    reason=f"{DEBIANS} is not there: apt-get install postgresql-15",
)
OWNER = "postgres"  # of the server and its files, as it doesn't run as root
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",  # also what functions and EXPLAIN run
}
NOT_THERE = (
    "rowlock: pg_stat_statements is not installed in the main database: set "
    "shared_preload_libraries, restart PostgreSQL, and CREATE EXTENSION pg_stat_statements.\n"
)
NOT_ALLOWED = (
    "rowlock: This role can't see what other roles have run: GRANT pg_read_all_stats to it.\n"
)


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """The settings for two migrated databases on a PostgreSQL 15, which counts statements."""
    with server() as folder:
        urls = {}
        for name in ("main", "events"):
            url = f"postgresql://{OWNER}@/{name}?host={folder}"
            with psycopg.connect(f"postgresql://{OWNER}@/postgres?host={folder}") as connection:
                connection.autocommit = True
                connection.execute(f"CREATE DATABASE {name}".encode())
            migrations.up(url, name)
            with psycopg.connect(url) as connection:
                connection.execute("CREATE EXTENSION pg_stat_statements")
            urls[name] = url
        yield {"database_url": urls["main"], "events_database_url": urls["events"]}


@contextmanager
def server() -> Iterator[str]:
    """Run a server; lend the folder of its socket."""
    owner = OWNER if os.geteuid() == 0 else None
    folder = tempfile.mkdtemp(prefix="rowlock-15-")  # a socket's path must be short
    if owner is not None:
        shutil.chown(folder, owner, owner)

    def run(command: str, *arguments: str) -> None:
        subprocess.run(
            (DEBIANS / command, "--pgdata", f"{folder}/data", *arguments),
            check=True,
            cwd=folder,
            user=owner,
            group=owner,
            extra_groups=() if owner else None,
            stdout=subprocess.DEVNULL,
        )

    try:
        run("initdb", "--username", OWNER, "--auth", "trust", "--no-sync")
        options = [f"-c {name}='{value}'" for name, value in SETTINGS.items()]
        options.append(f"-c unix_socket_directories='{folder}'")
        run("pg_ctl", "start", "--wait", "--log", f"{folder}/log", "--options", " ".join(options))
        try:
            yield folder
        finally:
            run("pg_ctl", "stop", "--wait", "--mode", "immediate")
    finally:
        shutil.rmtree(folder)


@on_debians_15
async def test_sql_top__statements_called__by_name_with_their_calls_and_others_last(
    urls: dict[str, str],
) -> None:
    await call_some(**urls)
    counted = []
    for _ in range(2):  # it doesn't count what it does itself
        status, output = await rowlock("sql", "top", **urls)
        assert status == 0, output
        rows = [line.split("\t") for line in output.splitlines()]
        assert {len(row) for row in rows} == {9}
        calls = {(database, name): int(calls) for database, name, calls, *_ in rows}
        counted.append(
            [
                calls["main", "accounts/find_users"],
                calls["main", "accounts/create_users"],
                calls["events", "events/find_end"],
            ]
        )
        assert calls["main", OTHERS] >= 3
        for database in ("main", "events"):
            names = [row[1] for row in rows if row[0] == database]
            assert (names[-1], names.count(OTHERS)) == (OTHERS, 1)
            total_ms = [float(row[3]) for row in rows if row[0] == database][:-1]
            assert total_ms == sorted(total_ms, reverse=True)
        [created] = [row for row in rows if row[1] == "accounts/create_users"]
        assert created[5] == "4"  # rows
    assert counted == [[5, 2, 1]] * 2


@on_debians_15
async def test_sql_top__cut__others_are_all_that_is_not_listed(urls: dict[str, str]) -> None:
    counted = {}
    for limit in ("1", "1000"):
        await call_some(**urls)
        status, output = await rowlock("sql", "top", "--limit", limit, **urls)
        assert status == 0, output
        rows = [line.split("\t") for line in output.splitlines()]
        counted[limit] = sum(int(row[2]) for row in rows if row[0] == "main")
        if limit == "1":
            assert [row[0] for row in rows] == ["main", "main", "events", "events"]
            assert [row[1] == OTHERS for row in rows] == [False, True] * 2
    assert counted["1"] == counted["1000"]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def call_some(database_url: str, events_database_url: str) -> None:
    """Have what was counted forgotten, then call statements of the catalogue and another one."""
    async with connected(database_url) as main, connected(events_database_url) as events:
        await main.execute("SELECT pg_stat_statements_reset()")
        for number in range(5):
            await queries.accounts.find_users(main, user_ids=[number])
        for _ in range(2):
            names = [token_hex(), token_hex()]
            await queries.accounts.create_users(main, usernames=names, name_keys=[None, None])
        for _ in range(3):
            await main.execute("SELECT 'not of the catalogue'")
        await queries.events.find_end(events)


async def test_sql_top__no_extension__says_in_one_line_what_to_do(
    database_url: str, events_database_url: str
) -> None:
    status, output = await rowlock(
        "sql", "top", database_url=database_url, events_database_url=events_database_url
    )
    assert (status, output) == (1, NOT_THERE)


@on_debians_15
async def test_sql_top__role_that_sees_only_its_own_statements__says_in_one_line_what_to_do(
    urls: dict[str, str],
) -> None:
    await call_some(**urls)
    async with connected(urls["database_url"]) as connection:
        await connection.execute(f"CREATE ROLE deputy LOGIN IN ROLE {OWNER}")
    as_deputy = {name: url.replace(f"{OWNER}@", "deputy@") for name, url in urls.items()}
    assert await rowlock("sql", "top", **as_deputy) == (1, NOT_ALLOWED)


async def test_query_id__every_statement__as_the_embedded_server_says_while_it_runs(
    database_url: str, events_database_url: str
) -> None:
    await assert_query_ids_are_the_servers(database_url, events_database_url)


@on_debians_15
async def test_query_id__every_statement__as_postgresql_15_says_while_it_runs(
    urls: dict[str, str],
) -> None:
    await assert_query_ids_are_the_servers(**urls)


async def assert_query_ids_are_the_servers(database_url: str, events_database_url: str) -> None:
    found: Counter[str] = Counter()
    for name, url in (("main", database_url), ("events", events_database_url)):
        async with connected(url) as connection, connected(url) as observer:
            await connection.execute("SET compute_query_id = on")
            for query in queries:
                if name in databases_of(query) and has_plan(query):
                    query_id = await find_query_id(connection, query)
                    assert query_id is not None
                    assert query_id == await observed_id(connection, observer, query), query.name
                    found[name] += 1
    assert found["main"] > 50
    assert found["events"] > 10


async def observed_id(connection: Connection, observer: Connection, query: Query) -> int:
    """The id of `query`, by pg_stat_activity; it is run with nulls, and rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        with suppress(asyncpg.PostgresError):  # not every function takes nulls
            await connection.fetch(query.sql, *([None] * len(query.params)))
        row = await observer.fetchrow(
            "SELECT query, query_id FROM pg_stat_activity WHERE pid = $1",
            connection.get_server_pid(),
        )
        assert row is not None
        assert query.sql.startswith(row["query"])  # which may be cut
        query_id: int = row["query_id"]
        return query_id
    finally:
        await transaction.rollback()


async def test_query_id__what_has_no_plan_or_no_id__none(connection: Connection) -> None:
    await connection.execute("SET compute_query_id = on")
    locks = [query for query in queries if not has_plan(query)]
    assert [await find_query_id(connection, query) for query in locks] == [None] * len(locks)
    await connection.execute("SET compute_query_id = off")
    [query] = [query for query in queries if query.name == "accounts/find_users"]
    assert await find_query_id(connection, query) is None
