"""Reading users: one function per lane."""

from collections.abc import Sequence

from rowlock.accounts.rules import User
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries


async def find_users(connection: Connection, user_ids: Sequence[int]) -> dict[int, User]:
    """Return those of the users that exist, by id."""
    rows = await queries.accounts.find_users(connection, user_ids=user_ids)
    return {
        row["id"]: User(row["id"], row["first_name"], row["last_name"], row["balance"])
        for row in rows
    }
