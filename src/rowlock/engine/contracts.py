"""Compares the files in sql/ with their headers, and shows their plans."""

from collections.abc import Container, Mapping

import asyncpg

from rowlock.engine.database import Connection
from rowlock.engine.statements import Query, queries

TYPE_NAMES = {  # as pg_type says it: as the headers do
    "int8": "bigint",
    "int4": "integer",
    "int2": "smallint",
    "bool": "boolean",
}


# The databases that the statements of a feature are for: main alone, unless it is here.
DATABASES = {
    "epochs": ("main", "events"),
    "events": ("events",),
    "idempotency": ("main", "events"),
    "activity": ("main", "events"),
    "jobs": ("main", "events"),
    "keys": ("main", "events"),
    "leases": ("main", "events"),
    "consumers": ("events",),
    "subscriptions": ("events",),
}
ANALYZE = "ANALYZE, BUFFERS, VERBOSE"  # options of EXPLAIN


def databases_of(query: Query) -> tuple[str, ...]:
    """Return the databases that `query` is for: main, events or both."""
    return DATABASES.get(query.name.partition("/")[0], ("main",))


def has_plan(query: Query) -> bool:
    """Tell whether PostgreSQL can explain `query`: LOCK TABLE has no plan."""
    return "\nLOCK TABLE" not in query.sql


async def valid_indexes(connection: Connection) -> set[str]:
    """Return the names of the indexes that exist and are valid."""
    rows = await queries.database.list_indexes(connection)
    return {row["name"] for row in rows if row["valid"]}


async def problems(connection: Connection, query: Query, indexes: Container[str]) -> list[str]:
    """Return where `query` differs from its header: parameters, columns, indexes.

    The indexes only have to exist and to be valid. Which ones a plan uses also depends on what the
    tables hold at the moment, and small tables are read whole.
    """
    statement = await connection.prepare(query.sql, name="")  # a pooler could lose a named one
    found = []
    expected = [param.type.name for param in query.params]
    actual = [_type_name(kind) for kind in statement.get_parameters()]
    if actual != expected:
        found.append(f"Params: {expected} declared, but the statement takes {actual}")
    declared = [(column.name, column.type.name) for column in query.columns]
    columns = [(column.name, _type_name(column.type)) for column in statement.get_attributes()]
    if columns != declared:
        found.append(f"Rows: {declared} declared, but the statement returns {columns}")
    found += [
        f"Index: {name} is missing, or not valid" for name in query.indexes if name not in indexes
    ]
    return found


async def explain(
    connection: Connection,
    query: Query,
    *,
    options: str = "VERBOSE",
    arguments: Mapping[str, str] | None = None,
) -> str:
    """Return the generic plan of `query`, which holds whatever the arguments.

    `options` are those of EXPLAIN. With ANALYZE the statement is run, with the text of each
    parameter in `arguments` (NULL for those that are missing). The caller rolls back.
    """
    texts = arguments or {}
    values = ", ".join(_literal(texts.get(param.name)) for param in query.params)
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    # Without the parameters' types, as the services prepare it: where PostgreSQL has to find them
    # out, an INSERT may get another query id.
    await connection.execute(f"PREPARE explained AS {query.sql}")
    try:
        async with connection.transaction():  # after a failure, there is still one to go on in
            rows = await connection.fetch(
                f"EXPLAIN ({options}) EXECUTE explained{f'({values})' if values else ''}"
            )
    finally:
        await connection.execute("DEALLOCATE explained")
    return "\n".join(row["QUERY PLAN"] for row in rows)


def _literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def _type_name(kind: asyncpg.Type) -> str:
    name = str(kind.name)
    base = name.removesuffix("[]")
    return TYPE_NAMES.get(base, base) + name[len(base) :]
