"""Users and their ledger: the only place where money moves.

An account is a user's balance. It changes only together with a ledger entry, in the same statement;
the entry names the document that moved the money. Other features lock the accounts that they
debit or credit, decide, and post entries.
"""

from collections.abc import Sequence

from rowlock.accounts.reads import find_users
from rowlock.accounts.rules import CreateUser, PostedEntry, User
from rowlock.accounts.transactions import create_users
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.settings.groups import BatchSettings


class Accounts(Feature):
    """Users and their ledger."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, User | None] = self._reads("find_user", find_users)
        self.create: WriteLane[CreateUser, bool] = self._commits("create_user", create_users)

    async def list_entries(
        self, user_id: int, *, before: int, page_size: int
    ) -> Sequence[PostedEntry]:
        """Return a page of the user's ledger, newest first: entries with ids below `before`."""
        async with self.database.reader() as connection:
            rows = await queries.accounts.list_ledger(
                connection, user_id=user_id, before=before, page_size=page_size
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
