"""Leases, as another process takes them, and how the previous release did without."""

from datetime import timedelta

from rowlock.engine.statements import queries
from tests.support.types import Connection

RELAY = "relay"
# Its leader held an advisory lock, and no epoch.
ADVANCE_OF_PREVIOUS_RELEASE = """
    UPDATE outbox_cursor
    SET xid = $1, position = $2, last_position = greatest(last_position, $3), advanced_at = now()
    WHERE (xid, position) < ($1, $2)"""


async def take_over(connection: Connection, name: str = RELAY) -> int:
    """Take a lease for an hour, from its holder if there is one, as if it had expired.

    Return its epoch.
    """
    async with connection.transaction():
        await expire(connection, name)
        [row] = await queries.leases.take(
            connection, name=name, holder="this test", duration=timedelta(hours=1)
        )
    return row["epoch"]


async def expire(connection: Connection, name: str = RELAY) -> None:
    """Let the lease's time be over, whoever holds it."""
    await connection.execute("UPDATE leases SET expires = clock_timestamp() WHERE name = $1", name)


async def epoch_of(connection: Connection, name: str = RELAY) -> int:
    """How often the lease has been taken."""
    epoch: int | None = await connection.fetchval("SELECT epoch FROM leases WHERE name = $1", name)
    return epoch or 0
