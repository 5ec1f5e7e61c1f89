"""Lock, decide, write: accounts and the ledger."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import names
from rowlock.accounts.rules import Account, CreateUser, Entry
from rowlock.engine import outbox
from rowlock.engine.database import Connection
from rowlock.engine.outbox import Event
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.accounts import LockUsersRow


async def lock_users(connection: Connection, user_ids: Collection[int]) -> dict[int, Account]:
    """Lock the accounts `user_ids` and return those that exist, by id."""
    rows = await queries.accounts.lock_users(connection, user_ids=list(set(user_ids)))
    return {row["id"]: _read_account(row) for row in rows}


async def lock_free_users(connection: Connection, user_ids: Collection[int]) -> dict[int, Account]:
    """Lock those of `user_ids` that no other transaction has locked; return them by id."""
    rows = await queries.accounts.lock_free_users(connection, user_ids=list(set(user_ids)))
    return {row["id"]: _read_account(row) for row in rows}


async def lock_users_by_name(
    connection: Connection, usernames: Collection[str]
) -> dict[str, Account]:
    """Lock the accounts called `usernames` and return those that exist, by the name given.

    Two names may stand for one account: see `names.match`.
    """
    keys = names.keys_of(usernames)
    rows = await queries.accounts.lock_users_by_name(
        connection, usernames=list(set(usernames)), name_keys=list(set(keys.values()))
    )
    users = [(row["username"], row["name_key"], _read_account(row)) for row in rows]
    return names.match(keys, usernames, users)


async def post(connection: Connection, entries: Sequence[Entry]) -> None:
    """Move money: append `entries` to the ledger, in order, and bring the balances up to date.

    The accounts are locked by the caller, and each entry's `balance_after` follows from the one
    before it.
    """
    moved = [entry for entry in entries if entry.amount]
    if moved:
        await queries.accounts.post_entries(
            connection,
            user_ids=[entry.user_id for entry in moved],
            amounts=[entry.amount for entry in moved],
            balances_after=[entry.balance_after for entry in moved],
            reasons=[entry.reason for entry in moved],
            refs=[entry.reference for entry in moved],
        )


async def create_users(connection: Connection, commands: Sequence[CreateUser]) -> list[bool]:
    """Open accounts; return for each command whether it opened one.

    Each has a name that a new user may have, as `names.problem` says.
    """
    keyed = [(names.key(command.username), command) for command in commands]
    first = dict(reversed(keyed))
    usernames = {key: names.normalise(command.username) for key, command in first.items()}
    rows = await queries.accounts.create_users(
        connection, usernames=list(usernames.values()), name_keys=list(usernames)
    )
    ids = {row["username"]: row["id"] for row in rows}
    opened = {key: ids[name] for key, name in usernames.items() if name in ids}
    entries, events = [], []
    for key, user_id in opened.items():
        amount = first[key].opening_balance
        entries.append(Entry(user_id, amount, amount, "opening_balance", f"user:{user_id}"))
        events.append(
            Event(
                "user.created",
                f"user:{user_id}",
                {"user_id": user_id, "username": usernames[key], "balance": amount},
                first[key].request_id,
            )
        )
    await post(connection, entries)
    await outbox.append(connection, events)
    return [command is first[key] and key in opened for key, command in keyed]


def _read_account(row: "LockUsersRow") -> Account:
    return Account(row["id"], row["username"], row["balance"])
