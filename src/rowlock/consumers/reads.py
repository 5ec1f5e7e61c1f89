"""Reading consumers: one function per lane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.consumers.rules import MOST_CONSUMERS, Consumer
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.consumers import ListConsumersRow


async def find_consumers(connection: Connection, names: Sequence[str]) -> dict[str, Consumer]:
    """Return those of the consumers that exist, by name."""
    rows = await queries.consumers.find_consumers(connection, names=names)
    return {row["name"]: read_consumer(row) for row in rows}


async def find_positions(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Return the positions of those of the consumers that exist, by name."""
    rows = await queries.consumers.find_positions(connection, names=names)
    return {row["name"]: row["position"] for row in rows}


async def list_all(connection: Connection) -> list[Consumer]:
    """Return all consumers, newest first."""
    rows = await queries.consumers.list_consumers(
        connection, before=2**63 - 1, page_size=MOST_CONSUMERS
    )
    return [read_consumer(row) for row in rows]


def read_consumer(row: "ListConsumersRow") -> Consumer:
    """Return a row of a consumer as one."""
    return Consumer(
        row["id"],
        row["name"],
        row["position"],
        row["created_at"],
        row["created_by"],
        row["acknowledged_at"],
        row["lag_events"],
        row["lag_s"],
    )
