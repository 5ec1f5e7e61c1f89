"""Statements of accounts: what a user had at a time, and what moved in between.

A statement is the entries between two positions in a user's ledger. These are found once, by time;
what is posted later comes after them. So a statement that is read in pages does not change
meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rowlock.accounts.rules import PostedEntry
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries

LAST_ID = 2**63 - 1


class Position(NamedTuple):
    """A place in a user's ledger, and the balance there in minor units."""

    entry_id: int  # of the entry before it; 0 at the beginning
    balance: int


class Statement(NamedTuple):
    """The entries of a user between two positions."""

    user_id: int
    opening: Position
    closing: Position


async def find_positions(
    connection: Connection, user_id: int, ends: Sequence[datetime], last_id: int = LAST_ID
) -> list[Position] | None:
    """Return where a user's entries before each of some times end; None for an unknown user.

    Entries with ids above `last_id` are left out.
    """
    rows = await queries.accounts.find_balances(
        connection, user_id=user_id, ends=ends, last=last_id
    )
    return [Position(row["id"], row["balance"]) for row in rows] or None


async def list_entries(
    connection: Connection, user_id: int, *, after: int, last_id: int, page_size: int
) -> list[PostedEntry]:
    """Return a page of a user's ledger, oldest first: ids above `after`, up to `last_id`."""
    rows = await queries.accounts.list_statement(
        connection, user_id=user_id, after=after, last=last_id, page_size=page_size
    )
    return [
        PostedEntry(
            row["id"],
            row["amount"],
            row["balance_after"],
            row["reason"],
            row["reference"],
            row["created_at"],
        )
        for row in rows
    ]
