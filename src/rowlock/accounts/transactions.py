"""Lock, decide, write: accounts and the ledger."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

from rowlock.accounts import names
from rowlock.accounts.events import USER_CREATED
from rowlock.accounts.rules import Account, CreateUser, Document, Entry
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.faults import Conflict
from rowlock.engine.locks import Aside, Lockable, Locks
from rowlock.engine.statements import queries
from rowlock.errors import DocumentPosted
from rowlock.origin import Origin

if TYPE_CHECKING:
    from rowlock.engine.typed.accounts import LockUsersRow

DOCUMENT_KEY = "ledger_entries_document_key"  # lets each document move a user's money once


async def find_known(connection: Connection, user_ids: list[int]) -> list[int]:
    """Return which of the users exist."""
    rows = await queries.accounts.find_users(connection, user_ids=user_ids)
    return [row["id"] for row in rows]


USERS: "Lockable[LockUsersRow]" = Lockable(
    wait=lambda connection, ids: queries.accounts.lock_users(connection, user_ids=ids),
    take_free=lambda connection, ids: queries.accounts.lock_free_users(connection, user_ids=ids),
    find=find_known,
    id_of=lambda row: row["id"],
)


async def lock_users(
    connection: Connection, user_ids: Collection[int], locks: Locks | None = None
) -> dict[int, Account]:
    """Lock the accounts `user_ids` and return them, by id: those that exist and are not left."""
    rows = await (locks or Locks()).take(connection, USERS, user_ids)
    return {row["id"]: _read_account(row) for row in rows}


async def lock_users_by_name(
    connection: Connection, usernames: Collection[str]
) -> dict[str, Account]:
    """Lock the accounts called `usernames`, and wait for each; return them by the name given.

    Two names may stand for one account: see `names.match`.
    """
    spellings, name_keys = names.search_terms(usernames)
    rows = await queries.accounts.lock_users_by_name(
        connection, usernames=spellings, name_keys=name_keys
    )
    users = [(row["username"], row["name_key"], _read_account(row)) for row in rows]
    return names.match(usernames, users)


async def take_users_by_name(
    connection: Connection, usernames: Collection[str], locks: Locks
) -> tuple[dict[str, Account], dict[str, Aside]]:
    """Lock accounts as `lock_users_by_name` does, but by `locks`; return the rows left, too."""
    if locks.waits_for_all:
        return await lock_users_by_name(connection, usernames), {}
    # Found before any is locked: a name must not stand for another user while its own is locked.
    # And a row that is left aside is known by its id, however a command spells the name.
    ids = await _find_user_ids(connection, usernames)
    free = await lock_users(connection, set(ids.values()), locks)
    left = {name: locks.left(USERS, id_) for name, id_ in ids.items()}
    return (
        {name: free[id_] for name, id_ in ids.items() if id_ in free},
        {name: row for name, row in left.items() if row is not None},
    )


async def _find_user_ids(connection: Connection, usernames: Collection[str]) -> dict[str, int]:
    spellings, name_keys = names.search_terms(usernames)
    rows = await queries.accounts.find_users_by_name(
        connection, usernames=spellings, name_keys=name_keys
    )
    return names.match(usernames, [(row["username"], row["name_key"], row["id"]) for row in rows])


@contextmanager
def each_document_once() -> Iterator[None]:
    """Raise DocumentPosted if a document has moved the user's money already."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != DOCUMENT_KEY:
            raise
        raise DocumentPosted from error


async def post(connection: Connection, entries: Sequence[Entry]) -> None:
    """Move money: append `entries` to the ledger, in order, and bring the balances up to date.

    The accounts are locked by the caller, and each entry's `balance_after` follows from the one
    before it. Raises DocumentPosted if a document has moved the user's money already.
    """
    moved = [entry for entry in entries if entry.amount]
    if not moved:
        return
    with each_document_once():
        await queries.accounts.post_entries(
            connection,
            user_ids=[entry.user_id for entry in moved],
            amounts=[entry.amount for entry in moved],
            balances_after=[entry.balance_after for entry in moved],
            reasons=[entry.reason for entry in moved],
            refs=[entry.document.reference for entry in moved],
            document_kinds=[entry.document.kind for entry in moved],
            document_ids=[entry.document.id for entry in moved],
            contras=[entry.document.contra for entry in moved],
            actors=[entry.actor for entry in moved],
            created_ats=[entry.created_at for entry in moved],
        )


async def create_users(connection: Connection, commands: Sequence[CreateUser]) -> list[bool]:
    """Open accounts; return for each command whether it opened one.

    Each has a name that a new user may have, as `names.problem` says. Raises Conflict if an import
    has just brought a user with the id that was drawn for one of them.
    """
    keyed = [(names.key(command.username), command) for command in commands]
    first = dict(reversed(keyed))
    usernames = {key: names.normalise(command.username) for key, command in first.items()}
    rows = await queries.accounts.create_users(
        connection, usernames=list(usernames.values()), name_keys=list(usernames)
    )
    ids = {row["username"]: row["id"] for row in rows}
    opened = {key: ids[name] for key, name in usernames.items() if name in ids}
    taken = [name for key, name in usernames.items() if key not in opened]
    if taken and len(await _find_user_ids(connection, taken)) < len(taken):
        raise Conflict  # it was not the name that another user had, but the id that was drawn
    await open_accounts(
        connection,
        [
            (user_id, first[key].opening_balance, first[key].origin)
            for key, user_id in opened.items()
        ],
    )
    return [command is first[key] and key in opened for key, command in keyed]


async def open_accounts(connection: Connection, opened: Sequence[tuple[int, int, Origin]]) -> None:
    """Post the opening balances of new users, and append their events."""
    await post(
        connection,
        [
            Entry(
                user_id,
                amount,
                amount,
                "opening_balance",
                Document("opening", user_id),
                origin.actor,
                None,
            )
            for user_id, amount, origin in opened
        ],
    )
    await outbox.append(
        connection,
        [
            USER_CREATED.event({"user_id": user_id, "balance": amount}, origin)
            for user_id, amount, origin in opened
        ],
    )


def _read_account(row: "LockUsersRow") -> Account:
    return Account(row["id"], row["username"], row["balance"])
