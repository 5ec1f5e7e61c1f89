"""Reading keys: one function per lane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection
from rowlock.engine.statements import queries
from rowlock.keys.rules import Holder, Key

if TYPE_CHECKING:
    from rowlock.engine.typed.keys import ListKeysRow


async def find_keys(service: str, connection: Connection, names: Sequence[str]) -> dict[str, Key]:
    """Return those of the keys that exist, by name."""
    rows = await queries.keys.find_keys(connection, service=service, names=names)
    return {row["name"]: read_key(row) for row in rows}


async def find_holders(
    service: str, connection: Connection, hashes: Sequence[bytes]
) -> dict[bytes, Holder]:
    """Return the keys that secrets of these hashes prove, by hash."""
    rows = await queries.keys.find_holders(connection, hashes=hashes)
    return {
        row["hash"]: Holder(
            row["id"],
            row["name"],
            frozenset(row["scopes"]),
            row["rate"],
            row["hash"],
            row["left_s"],
        )
        for row in rows
        if row["service"] == service
    }


def read_key(row: "ListKeysRow") -> Key:
    """Return a row of a key as one."""
    return Key(
        row["id"],
        row["name"],
        row["scopes"],
        row["rate"],
        row["created_at"],
        row["created_by"],
        row["expires_at"],
        row["old_secret_until"],
    )
