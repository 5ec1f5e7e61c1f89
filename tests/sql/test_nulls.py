"""Every test holds the statements that it runs to their headers: this is how it notices a null."""

from pathlib import Path
from typing import Any

import pytest

from rowlock.engine.statements import load, queries
from tests.support import statements
from tests.support.databases import rolled_back

MADE_UP = """\
-- made_up/return_value: return the argument
-- Params:  $1 given {kind}
-- Locks:   none
-- Rows:    returned {kind}; one
-- Index:   none, there is no table
SELECT $1::{name} AS returned
"""


async def test_void__has_a_value_that_is_no_null(
    shared_database_url: str, nulls: list[str]
) -> None:
    async with rolled_back(shared_database_url) as connection:
        assert await connection.fetchval("SELECT pg_sleep(0) IS NULL") is False
        [row] = await queries.service_orders.lock_calendar(connection)
    assert row["locked"] is None
    assert nulls == []


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("bigint", 0, None),
        ("bigint", None, "is null"),
        ("bigint?", None, None),
        ("text[]", [], None),
        ("text[]", ["", "null"], None),
        ("text[]", ["x", None], "holds a null"),
        ("text[]", None, "is null"),
        ("text?[]", ["x", None], None),
        ("text?[]", None, "is null"),
        ("text[]?", None, None),
        ("text[]?", [None], "holds a null"),
        ("text?[]?", None, None),
        ("text?[]?", [None], None),
    ],
)
async def test_null__in_an_argument_or_a_row__noted_unless_the_header_says_so(
    shared_database_url: str,
    tmp_path: Path,
    nulls: list[str],
    kind: str,
    value: Any,
    problem: str | None,
) -> None:
    path = tmp_path / "made_up" / "return_value.sql"
    path.parent.mkdir()
    path.write_text(MADE_UP.format(kind=kind, name=kind.replace("?", "")))
    async with rolled_back(shared_database_url) as connection:
        [row] = await load(path)(connection, given=value)
    assert row["returned"] == value
    if problem is None:
        assert nulls == []
        return
    expected = [f"made_up/return_value: {name} {problem}" for name in ("$given", "returned")]
    assert nulls == expected
    with pytest.raises(AssertionError, match=problem):
        statements.check(nulls)
    statements.check(nulls)  # told once
