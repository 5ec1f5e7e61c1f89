"""The sessions of a database: how many wait for a lock, and how to end them."""

from rowlock.engine.database import Connection


async def count_waiting(connection: Connection) -> int:
    """How many sessions wait for a lock."""
    waiting: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return waiting


async def end_others(connection: Connection) -> None:
    """End all sessions but this one, and return once they are gone."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
