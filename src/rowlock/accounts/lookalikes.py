"""Users of an earlier release, whose names or addresses have no key to be compared by.

`assign_keys` gives them their keys. Where two names are the same, the oldest user keeps the name;
the others stay as they are, and are found by their exact spelling alone.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from rowlock.accounts import names
from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.accounts import FindUnkeyedUsersRow

PAGE_USERS = 1000

Owner = tuple[int, str]  # a user's id, and the name or address


class Unkeyed(NamedTuple):
    """A name or an address without a key."""

    user_id: int
    text: str
    key: str | None  # None: nothing can be compared with it
    owner: Owner | None  # whose key it is

    @property
    def is_final(self) -> bool:
        """Whether it stays without a key."""
        return self.key is None or self.owner is not None


async def assign_keys(database: Database) -> int:
    """Give keys to all users that lack them; return how many users got one.

    In pages, each in a transaction of its own. Other processes may create users meanwhile.
    """
    after = assigned = 0
    while True:
        try:
            async with database.transaction() as connection:
                users = await _page(connection, after)
                pair = await _examine(connection, users)
                name_keys, email_keys = (
                    {each.user_id: each.key for each in field if not each.is_final}
                    for field in pair
                )
                user_ids = list(name_keys | email_keys)
                await queries.accounts.assign_keys(
                    connection,
                    user_ids=user_ids,
                    name_keys=[name_keys.get(user_id) for user_id in user_ids],
                    email_keys=[email_keys.get(user_id) for user_id in user_ids],
                )
        except asyncpg.UniqueViolationError:  # another process has just used one of the keys
            continue
        assigned += len(user_ids)
        if len(users) < PAGE_USERS:
            return assigned
        after = users[-1]["id"]


async def find_unkeyed(connection: Connection) -> AsyncIterator[Unkeyed]:
    """Yield the names and addresses without a key, by the ids of their users."""
    after = 0
    while users := await _page(connection, after):
        for field in await _examine(connection, users):
            for each in field:
                yield each
        after = users[-1]["id"]


async def _page(connection: Connection, after: int) -> Sequence["FindUnkeyedUsersRow"]:
    return await queries.accounts.find_unkeyed_users(connection, after=after, page_size=PAGE_USERS)


async def _examine(
    connection: Connection, users: Sequence["FindUnkeyedUsersRow"]
) -> tuple[list[Unkeyed], list[Unkeyed]]:
    """Return those of the users' names, and those of their addresses, that have no key."""
    usernames = {user["id"]: user["username"] for user in users if user["name_key"] is None}
    emails = {
        user["id"]: user["email"]
        for user in users
        if user["email"] is not None and user["email_key"] is None
    }
    owners = await queries.accounts.find_key_owners(
        connection,
        name_keys=list({names.key(username) for username in usernames.values()}),
        email_keys=list({names.key(email) for email in emails.values()}),
    )
    by_name = {user["name_key"]: (user["id"], user["username"]) for user in owners}
    by_email = {user["email_key"]: (user["id"], user["email"] or "") for user in owners}
    return [*_judge(usernames, by_name)], [*_judge(emails, by_email)]


def _judge(texts: Mapping[int, str], owners: dict[str | None, Owner]) -> Iterator[Unkeyed]:
    """Yield what stands for each text, by user id; the first of those that are the same owns it."""
    for user_id, text in texts.items():
        key = names.stored_key(text)
        yield Unkeyed(user_id, text, key, None if key is None else owners.get(key))
        owners.setdefault(key, (user_id, text))
