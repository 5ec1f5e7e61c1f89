# Made by `rowlock sql stubs` of the headers in src/rowlock/ops/top/sql/top/
# A test compares.

from decimal import Decimal
from typing import TypedDict

from rowlock.engine.statements import Executor, Statement

class ListStatisticsRow(TypedDict):
    query_id: int | None
    calls: int
    total_ms: float
    rows: int
    blocks_read: int
    blocks_dirtied: int
    wal_bytes: Decimal

class ListStatistics(Statement):
    async def __call__(self, connection: Executor) -> list[ListStatisticsRow]: ...

class Top:
    list_statistics: ListStatistics
