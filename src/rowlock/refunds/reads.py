"""Reading refunds: one function per lane, and the list."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import metadata
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.refunds.rules import Refund

if TYPE_CHECKING:
    from rowlock.engine.typed.refunds import FindRefundsRow


async def find_refunds(connection: Connection, ids: Sequence[int]) -> dict[int, Refund]:
    """Return those of the refunds that exist, by id."""
    rows = await queries.refunds.find_refunds(connection, refund_ids=ids)
    return {row["id"]: _read_refund(row) for row in rows}


async def list_refunds(
    connection: Connection, order_id: int, *, before: int, page_size: int
) -> list[Refund]:
    """Return a page of an order's refunds, newest first: those with ids below `before`."""
    rows = await queries.refunds.list_refunds(
        connection, order_id=order_id, before=before, page_size=page_size
    )
    return [_read_refund(row) for row in rows]


def _read_refund(row: "FindRefundsRow") -> Refund:
    return Refund(
        row["id"],
        row["order_id"],
        row["amount"],
        row["created_at"],
        row["reference"],
        metadata.read(row["metadata"]),
    )
