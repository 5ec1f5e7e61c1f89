"""Users and their ledger: the only place where money moves.

An account is a user's balance. It changes only together with a ledger entry, in the same statement;
the entry names the document that moved the money. Other features lock the accounts that they
debit or credit, decide, and post entries.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from rowlock.accounts import names
from rowlock.accounts.people import anonymise_users, change_users, register_users
from rowlock.accounts.reads import find_users, list_users, search_users
from rowlock.accounts.rules import (
    AnonymiseUser,
    ChangeUser,
    CreateUser,
    Listed,
    ListPosition,
    Person,
    PostedEntry,
    RegisterUser,
    User,
)
from rowlock.accounts.statements import (
    LAST_ID,
    Position,
    Statement,
    find_positions,
    list_entries,
)
from rowlock.accounts.transactions import create_users
from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.seeks import seek
from rowlock.engine.statements import queries
from rowlock.errors import InvalidCursor
from rowlock.rejections import Rejection
from rowlock.settings.groups import BatchSettings

NEVER = datetime.max.replace(tzinfo=UTC)  # what asyncpg takes for PostgreSQL's infinity


class Accounts(Feature):
    """Users and their ledger."""

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        super().__init__(database, batches)
        self.find: Lane[int, User | None] = self._reads("find_user", find_users)
        self.create: WriteLane[CreateUser, bool] = self._commits("create_user", create_users)
        self.register: WriteLane[RegisterUser, Person | Rejection] = self._commits(
            "register_user", register_users
        )
        self.change: WriteLane[ChangeUser, Person | Rejection] = self._add(
            LockingLane("change_user", database, change_users, batches)
        )
        # Apart from changes: none shares a transaction with the removal of what it shows, so its
        # kept answer is there before that, or the user is nameless already.
        self.anonymise: WriteLane[AnonymiseUser, Person | Rejection] = self._add(
            LockingLane("anonymise_user", database, anonymise_users, batches)
        )

    async def list_entries(
        self, user_id: int, *, before: int, page_size: int
    ) -> Sequence[PostedEntry]:
        """Return a page of the user's ledger, newest first: entries with ids below `before`."""
        rows = await self.database.read(
            partial(
                queries.accounts.list_ledger, user_id=user_id, before=before, page_size=page_size
            )
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

    async def list_page(
        self,
        *,
        username: str | None,
        email: str | None,
        after: ListPosition | None,
        page_size: int,
    ) -> Listed:
        """Return a page of users, from the position `after` on.

        All of them, newest first; or those whose username, or address, or both begin so, in the
        order of what they are compared by. By both, a page may have fewer users, and yet an end
        from which the list goes on. Raises InvalidCursor if the position is not in the list.
        """
        text = email if username is None else username
        if after is not None:
            is_inside = not after.key if text is None else after.key.startswith(names.key(text))
            if not is_inside:
                raise InvalidCursor
        if text is None:
            before = LAST_ID if after is None else after.user_id
            return await self.database.read(partial(list_users, before=before, page_size=page_size))
        return await self.database.read(
            partial(search_users, username=username, email=email, after=after, page_size=page_size)
        )

    async def find_balance(self, user_id: int, at: datetime | None) -> int | None:
        """Return a user's balance, in minor units, once all entries up to `at` are counted, or all.

        None for an unknown user.
        """
        before = NEVER if at is None else at + timedelta.resolution
        positions = await seek(
            self.database,
            partial(find_positions, user_id=user_id, ends=[before]),
            suffices=bool if self._is_settled(before) else None,
        )
        return positions[0].balance if positions else None

    def _is_settled(self, end: datetime) -> bool:
        """Tell whether a standby has all entries before `end`: none are added there any more."""
        standbys = self.database.standbys
        if standbys is None:
            return False
        return end < datetime.now(UTC) - timedelta(seconds=standbys.settled_s)

    async def open_statement(
        self, user_id: int, start: datetime, end: datetime, *, last_id: int = LAST_ID
    ) -> Statement | None:
        """Return the statement of a user from `start` on, before `end`; None for an unknown user.

        Entries with ids above `last_id` are left out.
        """

        def suffices(positions: list[Position] | None) -> bool:
            # The primary may have fixed the end at an entry that a standby does not have yet.
            return positions is not None and last_id in {LAST_ID, positions[1].entry_id}

        positions = await seek(
            self.database,
            partial(find_positions, user_id=user_id, ends=[start, end], last_id=last_id),
            suffices if end == NEVER or self._is_settled(end) else None,
        )
        return Statement(user_id, *positions) if positions else None

    async def list_statement(
        self, statement: Statement, *, after: int, page_size: int
    ) -> Sequence[PostedEntry]:
        """Return a page of a statement, oldest first: entries with ids above `after`."""
        last_id = statement.closing.entry_id
        after = max(after, statement.opening.entry_id)
        if after >= last_id:
            return []

        def suffices(page: Sequence[PostedEntry]) -> bool:
            return len(page) == page_size or bool(page and page[-1].id == last_id)

        return await seek(
            self.database,
            partial(
                list_entries,
                user_id=statement.user_id,
                after=after,
                last_id=last_id,
                page_size=page_size,
            ),
            suffices,
        )

    async def read_statement(
        self, statement: Statement, *, page_size: int
    ) -> AsyncIterator[Sequence[PostedEntry]]:
        """Yield all entries of a statement, oldest first, by pages.

        Each page is a short read of its own, however long the reader takes between two.
        """
        after = statement.opening.entry_id
        while after < statement.closing.entry_id:
            page = await self.list_statement(statement, after=after, page_size=page_size)
            if not page:
                return
            yield page
            after = page[-1].id
