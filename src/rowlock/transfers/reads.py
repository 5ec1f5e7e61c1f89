"""Reading transfers: one function per lane, and the list."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import metadata
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.transfers.rules import Filter, Transfer

if TYPE_CHECKING:
    from rowlock.engine.typed.transfers import FindTransfersRow


async def find_transfers(connection: Connection, ids: Sequence[int]) -> dict[int, Transfer]:
    """Return those of the transfers that exist, by id."""
    rows = await queries.transfers.find_transfers(connection, transfer_ids=ids)
    return {row["id"]: read_transfer(row) for row in rows}


async def list_transfers(
    connection: Connection, wanted: Filter, *, before: int, page_size: int
) -> list[Transfer]:
    """Return a page of transfers, newest first: those after the transfer `before` in the list.

    The highest bigint is before all.
    """
    if wanted.reference is not None:
        found = await queries.transfers.find_by_reference(connection, reference=wanted.reference)
        transfers = [read_transfer(row) for row in found if row["id"] < before]
        return [transfer for transfer in transfers if wanted.takes(transfer)]
    if wanted.user_id is None:
        rows: Sequence[FindTransfersRow] = await queries.transfers.list_transfers(
            connection,
            since=wanted.since,
            until=wanted.until,
            before=before,
            page_size=page_size,
        )
    else:
        rows = await queries.transfers.list_user_transfers(
            connection,
            user_id=wanted.user_id,
            since=wanted.since,
            until=wanted.until,
            before=before,
            page_size=page_size,
        )
    return [read_transfer(row) for row in rows]


def read_transfer(row: "FindTransfersRow") -> Transfer:
    """Return a row of a transfer as one."""
    return Transfer(
        row["id"],
        row["from_user_id"],
        row["to_user_id"],
        row["amount"],
        row["label"],
        row["reference"],
        metadata.read(row["metadata"]),
        row["created_at"],
    )
