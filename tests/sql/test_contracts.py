"""Every file in sql/ against the migrated schema, and against the code that calls it."""

import ast
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from rowlock.ops import contracts, seed
from rowlock.engine.database import Database
from rowlock.engine.statements import Query, load, queries
from tests.sql.plans import unused_indexes

SOURCES = Path(__file__).parents[2] / "src" / "rowlock"


@asynccontextmanager
async def rolled_back(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction that is rolled back: the tests here leave nothing."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


@pytest.mark.parametrize("query", list(queries), ids=lambda query: query.name)
async def test_contract__each_file__is_as_its_header_says(shared_database_urls, query: Query):
    async with rolled_back(shared_database_urls[contracts.database_of(query)]) as connection:
        indexes = await contracts.valid_indexes(connection)
        assert await contracts.problems(connection, query, indexes) == []
        assert await unused_indexes(connection, query) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("$1 user_ids bigint[]", "$1 user_ids integer[]"), "Params"),
        (("balance bigint; one", "balance integer; one"), "Rows"),
        (("Index:   users_pkey", "Index:   users_no_such_idx"), "Index"),
    ],
)
async def test_contract__false_header__is_noticed(shared_database_urls, tmp_path, change, problem):
    path = tmp_path / "accounts" / "find_users.sql"
    path.parent.mkdir()
    path.write_text(queries.find("accounts/find_users").sql.replace(*change))
    async with rolled_back(shared_database_urls["main"]) as connection:
        indexes = await contracts.valid_indexes(connection)
        [found] = await contracts.problems(connection, load(path), indexes)
    assert found.startswith(problem)


async def test_contract__index_not_in_the_plan__is_noticed(shared_database_urls):
    query = replace(queries.find("accounts/find_users"), indexes=("users_username_key",))
    async with rolled_back(shared_database_urls["main"]) as connection:
        assert await unused_indexes(connection, query) == ["users_username_key"]


async def test_contract__index_left_invalid__is_noticed(shared_database_urls):
    query = queries.find("accounts/find_users")
    async with rolled_back(shared_database_urls["main"]) as connection:
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_pkey'::regclass"
        )
        indexes = await contracts.valid_indexes(connection)
        [found] = await contracts.problems(connection, query, indexes)
    assert found == "Index: users_pkey is missing, or not valid"


async def test_contract__tables_small_and_analyzed__nothing_to_complain_of(database_url, settings):
    async with Database(database_url, settings) as database:
        await seed.demo(database)
    connection = await asyncpg.connect(database_url)
    await connection.execute("ANALYZE")
    indexes = await contracts.valid_indexes(connection)
    for query in queries:
        if contracts.database_of(query) == "main":
            assert await contracts.problems(connection, query, indexes) == []
    await connection.close()


# The columns of a table that refer to others, and to which ones.
REFERENCES = """
    SELECT conrelid::regclass::text, attname, confrelid::regclass::text
    FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
    WHERE contype = 'f'"""


def locks_of(query: Query) -> set[str]:
    """The words of the header's Locks, and of those statements that it says the caller has run."""
    words = set(re.findall(r"[\w/]+", query.locks))
    return words.union(*(locks_of(held) for word in words if (held := queries.find(word))))


@pytest.mark.parametrize("database", ["main", "events"])
async def test_locks__foreign_keys_of_new_rows__the_tables_are_named(
    shared_database_urls, database
):
    async with rolled_back(shared_database_urls[database]) as connection:
        references = await connection.fetch(REFERENCES)
    unnamed = [
        (query.name, parent)
        for query in queries
        if contracts.database_of(query) == database
        for inserts in [dict(re.findall(r"INSERT INTO (\w+) \(([^)]+)\)", query.sql))]
        for table, column, parent in references
        if column in re.findall(r"\w+", inserts.get(table, ""))
        if parent not in locks_of(query) | inserts.keys()  # new rows nobody else can want
    ]
    assert unnamed == []


def calls() -> set[str]:
    """The statements that the code calls, as feature/name, from its syntax trees."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(
                    value=ast.Attribute(value=ast.Name(id="queries"), attr=feature), attr=name
                ):
                    found.add(f"{feature}/{name}")
    return found


def test_files__each__is_called_and_each_call_has_a_file():
    assert calls() == {query.name for query in queries}


async def test_explain__analyze__shows_times_and_buffers(shared_database_urls):
    async with rolled_back(shared_database_urls["main"]) as connection:
        plan = await contracts.explain(
            connection,
            queries.find("seed/add_products"),
            analyze=True,
            arguments={"slugs": "{a}", "names": "{A}", "prices": "{1}"},
        )
    assert "actual time" in plan
    assert "Buffers" in plan
