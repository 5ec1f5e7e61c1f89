"""`rowlock sql top`: what each statement of the catalogue has cost, by pg_stat_statements.

PostgreSQL 18 drops the comment at the start of a statement from pg_stat_statements, and so its
name. So statements are found by their query ids, which EXPLAIN tells.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import asyncpg
import orjson

from rowlock.engine.contracts import databases_of, explain, has_plan
from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import Query, Registry, queries
from rowlock.errors import StartRefused

if TYPE_CHECKING:
    from rowlock.engine.top.typed import Queries

statements = cast("Queries", Registry(Path(__file__).with_name("sql")))

OTHERS = "(others)"


class Cost(NamedTuple):
    """What all calls of a statement have cost since the statistics were reset."""

    name: str
    calls: int
    total_ms: float
    rows: int
    blocks_read: int  # from disk, or the kernel's cache
    blocks_dirtied: int
    wal_bytes: int


async def measure(database: Database, name: str, limit: int) -> Sequence[Cost]:
    """Return what statements of the database, main or events, have cost; most expensive first.

    These are at most `limit` of the catalogue. The last row, `OTHERS`, is the sum of all that is
    not listed, in the catalogue or not. Raises StartRefused without pg_stat_statements, or without
    the right to read all of it.
    """
    async with database.connection() as connection:
        names = await name_query_ids(connection, name)
        costs = [*await read_costs(connection, name, names)]
    costs.sort(key=lambda cost: (cost.name == OTHERS, -cost.total_ms))
    cut = min(limit, sum(cost.name != OTHERS for cost in costs))
    return [*costs[:cut], _add_up(costs[cut:])]


async def name_query_ids(connection: Connection, name: str) -> Mapping[int | None, str]:
    """Return the names of the statements of the database, main or events, by their query ids."""
    return {
        await find_query_id(connection, query): query.name
        for query in queries
        if name in databases_of(query)
    }


async def read_costs(
    connection: Connection, name: str, names: Mapping[int | None, str]
) -> Sequence[Cost]:
    """Return what each query id has cost, by the names of statements; others are `OTHERS`.

    Raises StartRefused as `measure` does.
    """
    try:
        rows = await statements.top.list_statistics(connection)
    except (asyncpg.UndefinedTableError, asyncpg.ObjectNotInPrerequisiteStateError):
        raise StartRefused(
            f"pg_stat_statements is not installed in the {name} database: set "
            "shared_preload_libraries, restart PostgreSQL, and CREATE EXTENSION "
            "pg_stat_statements."
        ) from None
    if any(row["query_id"] is None for row in rows):
        raise StartRefused(
            "This role can't see what other roles have run: GRANT pg_read_all_stats to it."
        )
    return [
        Cost(
            names.get(row["query_id"], OTHERS),
            row["calls"],
            row["total_ms"],
            row["rows"],
            row["blocks_read"],
            row["blocks_dirtied"],
            int(row["wal_bytes"]),
        )
        for row in rows
    ]


def _add_up(costs: Sequence[Cost]) -> Cost:
    return Cost(
        OTHERS,
        sum(cost.calls for cost in costs),
        sum(cost.total_ms for cost in costs),
        sum(cost.rows for cost in costs),
        sum(cost.blocks_read for cost in costs),
        sum(cost.blocks_dirtied for cost in costs),
        sum(cost.wal_bytes for cost in costs),
    )


async def find_query_id(connection: Connection, query: Query) -> int | None:
    """Return by which id PostgreSQL knows `query`; None for what has no plan, such as LOCK.

    None also where the server computes no ids, or the role may not run the statement.
    """
    if not has_plan(query):
        return None
    try:
        async with connection.transaction():  # the settings of `explain` end with it
            text = await explain(connection, query, options="VERBOSE, FORMAT JSON")
    except asyncpg.InsufficientPrivilegeError:
        return None
    [plan] = orjson.loads(text)
    found: int | None = plan.get("Query Identifier")
    return found
