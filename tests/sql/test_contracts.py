"""Every file in sql/ against the migrated schema, and against the code that calls it."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from rowlock.engine import contracts, top
from rowlock.engine.database import Database
from rowlock.engine.statements import Query, load, queries
from rowlock.ops import seed
from rowlock.ops.drill.statements import queries as drill
from rowlock.ops.imports.kinds import KINDS
from rowlock.ops.imports.statements import statements as imports
from rowlock.settings import Settings
from tests.support.databases import rolled_back
from tests.support.plans import unused_indexes
from tests.support.statements import find

SOURCES = Path(__file__).parents[2] / "src" / "rowlock"
Urls = dict[str, str]  # by database


def databases_of(query: Query) -> tuple[str, ...]:
    """The databases that a statement of any registry is for."""
    is_drill = query.name.startswith("drill_events/")
    return ("events",) if is_drill else contracts.databases_of(query)


@pytest.mark.parametrize("query", [*queries, *drill], ids=lambda query: query.name)
async def test_contract__each_file__is_as_its_header_says(
    shared_database_urls: Urls, query: Query
) -> None:
    for database in databases_of(query):
        async with rolled_back(shared_database_urls[database]) as connection:
            indexes = await contracts.valid_indexes(connection)
            assert await contracts.problems(connection, query, indexes) == []
            assert await unused_indexes(connection, query) == []


@pytest.mark.parametrize("query", [*top.statements], ids=lambda query: query.name)
async def test_contract__statement_on_statistics__is_as_its_header_says(
    shared_database_urls: Urls, query: Query
) -> None:
    async with rolled_back(shared_database_urls["main"]) as connection:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        except asyncpg.PostgresError as error:
            pytest.skip(f"pg_stat_statements comes with PostgreSQL's contrib: {error}")
        assert await contracts.problems(connection, query, set()) == []


@pytest.mark.parametrize("query", [*imports], ids=lambda query: query.name)
async def test_contract__statement_of_imports__is_as_its_header_says(
    shared_database_urls: Urls, query: Query
) -> None:
    async with rolled_back(shared_database_urls["main"]) as connection:
        indexes = await contracts.valid_indexes(connection)
        if "/stage_" not in query.name:
            for kind in KINDS.values():
                await kind.stage(connection)
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
async def test_contract__false_header__is_noticed(
    shared_database_urls: Urls, tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    path = tmp_path / "accounts" / "find_users.sql"
    path.parent.mkdir()
    path.write_text(find("accounts/find_users").sql.replace(*change))
    async with rolled_back(shared_database_urls["main"]) as connection:
        indexes = await contracts.valid_indexes(connection)
        [found] = await contracts.problems(connection, load(path), indexes)
    assert found.startswith(problem)


async def test_contract__index_not_in_the_plan__is_noticed(
    shared_database_urls: Urls,
) -> None:
    query = replace(find("accounts/find_users"), indexes=("users_username_key",))
    async with rolled_back(shared_database_urls["main"]) as connection:
        assert await unused_indexes(connection, query) == ["users_username_key"]


async def test_contract__index_left_invalid__is_noticed(shared_database_urls: Urls) -> None:
    query = find("accounts/find_users")
    async with rolled_back(shared_database_urls["main"]) as connection:
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_pkey'::regclass"
        )
        indexes = await contracts.valid_indexes(connection)
        [found] = await contracts.problems(connection, query, indexes)
    assert found == "Index: users_pkey is missing, or not valid"


async def test_contract__tables_small_and_analyzed__nothing_to_complain_of(
    database_url: str, settings: Settings
) -> None:
    async with Database(database_url, settings.database) as database:
        await seed.demo(database)
    connection = await asyncpg.connect(database_url)
    await connection.execute("ANALYZE")
    indexes = await contracts.valid_indexes(connection)
    for query in queries:
        if "main" in contracts.databases_of(query):
            assert await contracts.problems(connection, query, indexes) == []
    await connection.close()


# The columns of a table that refer to others, and to which ones.
REFERENCES = """
    SELECT conrelid::regclass::text AS child, attname AS reference,
        confrelid::regclass::text AS parent
    FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
    WHERE contype = 'f'"""


def locks_of(query: Query) -> set[str]:
    """The words of the header's Locks, and of those statements that it says the caller has run."""
    words = set(re.findall(r"[\w/]+", query.locks))
    return words.union(*(locks_of(held) for word in words if (held := queries.find(word))))


@pytest.mark.parametrize("database", ["main", "events"])
async def test_locks__foreign_keys_of_new_rows__the_tables_are_named(
    shared_database_urls: Urls, database: str
) -> None:
    async with rolled_back(shared_database_urls[database]) as connection:
        references = await connection.fetch(REFERENCES)
    unnamed = [
        (query.name, row["parent"])
        for query in [*queries, *imports]
        if database in contracts.databases_of(query)
        for inserts in [dict(re.findall(r"INSERT INTO (\w+) \(([^)]+)\)", query.sql))]
        for row in references
        if row["reference"] in re.findall(r"\w+", inserts.get(row["child"], ""))
        # New rows are known to this transaction alone.
        if row["parent"] not in locks_of(query) | inserts.keys()
    ]
    assert unnamed == []


def calls() -> set[str]:
    """The statements that the code calls, as feature/name, from its syntax trees."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(
                    value=ast.Attribute(value=ast.Name(id="queries" | "statements"), attr=feature),
                    attr=name,
                ):
                    found.add(f"{feature}/{name}")
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="queries"), attr="find"),
                    args=[ast.Constant(value=str(name))],
                ):
                    found.add(name)  # migrations run it by another driver
    return found


def test_files__each__is_called_and_each_call_has_a_file() -> None:
    registries = (queries, drill, imports, top.statements)
    assert calls() == {query.name for registry in registries for query in registry}


async def test_explain__analyze__shows_times_and_buffers(shared_database_urls: Urls) -> None:
    async with rolled_back(shared_database_urls["main"]) as connection:
        plan = await contracts.explain(
            connection,
            find("seed/add_products"),
            options=contracts.ANALYZE,
            arguments={"slugs": "{a}", "names": "{A}", "prices": "{1}"},
        )
    assert "actual time" in plan
    assert "Buffers" in plan
