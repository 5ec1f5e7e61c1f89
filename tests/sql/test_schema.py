"""sql/SCHEMA.md against the migrated databases; every index has a reason to be."""

from pathlib import Path

import pytest

from rowlock.engine import contracts
from rowlock.engine.statements import queries
from rowlock.ops import schema_page as schema
from tests.support.databases import rolled_back
from tests.support.plans import PARTITION_INDEXES

# The lists of release 0.2.0 read these. The release after this one drops them.
LEFT = {"orders_refused_idx"}

PAGE = Path(__file__).parents[2] / "sql" / "SCHEMA.md"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
async def test_page__migrated_databases__says_what_they_are(
    shared_database_urls: dict[str, str], zone: str
) -> None:
    parts = [schema.PREFACE]
    for name, url in shared_database_urls.items():
        async with rolled_back(url) as connection:
            await connection.execute(f"SET timezone = '{zone}'; SET intervalstyle = iso_8601")
            parts.append(await schema.describe(connection, name))
    again = "run: rowlock migrate up && rowlock sql schema > sql/SCHEMA.md"
    assert PAGE.read_text(encoding="utf-8") == "\n".join(parts), again


@pytest.mark.parametrize("name", ["main", "events"])
async def test_indexes__each__serves_a_statement_or_a_constraint(
    shared_database_urls: dict[str, str], name: str
) -> None:
    async with rolled_back(shared_database_urls[name]) as connection:
        indexes = await queries.database.list_indexes(connection)
        constraints = await queries.database.list_constraints(connection)
        inherited = await connection.fetch(PARTITION_INDEXES)
    parents = {row["name"]: row["parent"] for row in inherited}
    reasons = {row["name"] for row in constraints}.union(
        *(query.indexes for query in queries if name in contracts.databases_of(query))
    )
    names = {row["name"] for row in indexes if "yoyo" not in row["table_name"]}
    assert {parents.get(index, index) for index in names} - reasons - LEFT == set()
