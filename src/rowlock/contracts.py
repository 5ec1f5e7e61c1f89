"""Holding the files in sql/ to their headers, and showing their plans."""

import re
from collections.abc import Mapping

import asyncpg

from rowlock.queries import Query, queries

TYPE_NAMES = {  # as pg_type says it: as the headers do
    "int8": "bigint",
    "int4": "integer",
    "int2": "smallint",
    "bool": "boolean",
}


EVENTS_FEATURE = "events"


def database_of(query: Query) -> str:
    """Return the database that `query` is for: main or events."""
    return "events" if query.name.startswith(f"{EVENTS_FEATURE}/") else "main"


async def problems(connection: asyncpg.Connection, query: Query) -> list[str]:
    """Return what of `query` is not as its header says: parameters, columns, indexes.

    The plan is asked for with sequential scans discouraged, as it would be on large tables.
    `connection` must be inside a transaction, which keeps some settings until its end.
    """
    statement = await connection.prepare(query.sql)
    found = []
    expected = [param.type for param in query.params]
    actual = [_type_name(kind) for kind in statement.get_parameters()]
    if actual != expected:
        found.append(f"Params: {expected} declared, but the statement takes {actual}")
    declared = [tuple(column) for column in query.columns]
    columns = [(column.name, _type_name(column.type)) for column in statement.get_attributes()]
    if columns != declared:
        found.append(f"Rows: {declared} declared, but the statement returns {columns}")
    if not query.indexes:
        return found
    await connection.execute("SET LOCAL enable_seqscan = off")
    await connection.execute("SET LOCAL enable_bitmapscan = off")
    plan = await explain(connection, query)
    for name, parent in await queries.database.list_partition_indexes(connection):
        plan = re.sub(rf"\b{name}\b", parent, plan)
    found += [
        f"Index: {index} is not in the plan:\n{plan}"
        for index in query.indexes
        if not re.search(rf"\b{index}\b", plan)
    ]
    return found


async def explain(
    connection: asyncpg.Connection,
    query: Query,
    *,
    analyze: bool = False,
    arguments: Mapping[str, str] | None = None,
) -> str:
    """Return the generic plan of `query`, which holds whatever the arguments.

    With `analyze` the statement is run, with the text of each parameter in `arguments` (NULL for
    those that are missing), and the plan shows times and buffers. The caller rolls back.
    """
    texts = arguments or {}
    values = ", ".join(_literal(texts.get(param.name)) for param in query.params)
    types = ", ".join(param.type for param in query.params)
    options = "ANALYZE, BUFFERS, VERBOSE" if analyze else "VERBOSE"
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE explained{f'({types})' if types else ''} AS {query.sql}")
    try:
        async with connection.transaction():  # after a failure, there is still one to go on in
            rows = await connection.fetch(
                f"EXPLAIN ({options}) EXECUTE explained{f'({values})' if values else ''}"
            )
    finally:
        await connection.execute("DEALLOCATE explained")
    return "\n".join(row[0] for row in rows)


def _literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def _type_name(kind: asyncpg.Type) -> str:
    name = str(kind.name)
    base = name.removesuffix("[]")
    return TYPE_NAMES.get(base, base) + name[len(base) :]
