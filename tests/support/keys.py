"""Arranging API keys in a database, below the API."""

from datetime import timedelta

from rowlock.keys.credentials import hash_of, new_secret
from rowlock.services import SCOPES
from rowlock.settings.names import ServiceName
from tests.support.types import Connection


async def add_key(
    connection: Connection,
    service: str,
    name: str = "partner",
    *,
    scopes: list[str] | None = None,
    rate: int | None = None,
    ends_in: timedelta | None = None,
) -> str:
    """Add a key with these scopes, or with all that there are; return its secret."""
    secret = new_secret()
    key_id = await connection.fetchval(
        """
        INSERT INTO api_keys (service, name, scopes, rate, expires_at, created_by)
        VALUES ($1, $2, $3, $4, now() + $5, 'cli') RETURNING id""",
        service,
        name,
        sorted(SCOPES[ServiceName(service)]) if scopes is None else scopes,
        rate,
        ends_in,
    )
    await connection.execute(
        "INSERT INTO api_key_secrets (hash, key_id) VALUES ($1, $2)", hash_of(secret), key_id
    )
    return secret
