"""Which indexes a statement uses, and how much it reads."""

import json
import re

from rowlock.engine import contracts
from rowlock.engine.statements import Query
from tests.support.types import Connection

# Which index of the partitioned table each index of a partition is part of.
PARTITION_INDEXES = """
    SELECT child.relname AS name, parent.relname AS parent
    FROM pg_inherits
    JOIN pg_class AS child ON inhrelid = child.oid
    JOIN pg_class AS parent ON inhparent = parent.oid
    WHERE child.relkind = 'i'"""


async def unused_indexes(connection: Connection, query: Query) -> list[str]:
    """The indexes of the header that are not in the plan, which is that of large tables.

    The tables must be empty, and never analyzed. `connection` is in a transaction, which keeps
    some settings until its end.
    """
    if not query.indexes:  # it may be one that has no plan, such as LOCK TABLE
        return []
    await connection.execute("SET LOCAL enable_seqscan = off")
    unused = list(query.indexes)
    for bitmaps in ("off", "on"):  # on: rows that one of several indexes finds
        await connection.execute(f"SET LOCAL enable_bitmapscan = {bitmaps}")
        plan = await contracts.explain(connection, query)
        for row in await connection.fetch(PARTITION_INDEXES):
            plan = re.sub(rf"\b{row['name']}\b", row["parent"], plan)
        unused = [index for index in query.indexes if not re.search(rf"\b{index}\b", plan)]
        if not unused:
            break
    return unused


async def buffers_read(connection: Connection, statement: str) -> int:
    """How many pages a statement reads; what it changes is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        )
    finally:
        await transaction.rollback()
    plan = json.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
