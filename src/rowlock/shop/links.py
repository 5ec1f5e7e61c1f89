"""Links that sign a user in to the shop: each works once, for a while."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.shop import PATH

SECRET_BYTES = 32
PURGED = 1000  # links that one command removes at most


class Link(NamedTuple):
    """A new link."""

    path: str  # below the URL of commerce
    expires_at: datetime


class Member(NamedTuple):
    """A user whom a link has signed in."""

    user_id: int
    username: str


async def make(database: Database, user_id: int, lifetime: timedelta) -> Link | None:
    """Make a link for a user; None for one that is unknown or anonymised."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    async with database.transaction() as connection:
        await queries.shop.purge_links(connection, page_size=PURGED)
        rows = await queries.shop.add_link(
            connection, digest=_digest(secret), user_id=user_id, lifetime=lifetime
        )
    if not rows:
        return None
    return Link(f"{PATH}/enter?secret={secret}", rows[0]["expires_at"])


async def take(database: Database, secret: str) -> Member | None:
    """Use a link up; None if it is unknown, used or expired."""
    async with database.transaction() as connection:
        rows = await queries.shop.take_link(connection, digest=_digest(secret))
    return Member(rows[0]["user_id"], rows[0]["username"]) if rows else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
