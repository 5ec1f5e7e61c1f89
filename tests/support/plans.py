"""Which indexes a statement uses."""

import re

from rowlock.engine.statements import Query
from rowlock.ops import contracts
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
    await connection.execute("SET LOCAL enable_bitmapscan = off")
    plan = await contracts.explain(connection, query)
    for row in await connection.fetch(PARTITION_INDEXES):
        plan = re.sub(rf"\b{row['name']}\b", row["parent"], plan)
    return [index for index in query.indexes if not re.search(rf"\b{index}\b", plan)]
