"""Poolers between Rowlock and PostgreSQL: whether they keep prepared statements.

Every statement is prepared once per connection. A pooler that lends sessions for a transaction,
such as PgBouncer in transaction mode, loses them unless it keeps account of them, which PgBouncer
does from 1.21 on.
"""

import asyncio

import asyncpg

from rowlock.engine import dialling
from rowlock.engine.dialling import Direct
from rowlock.errors import DatabaseUnavailable, UnsupportedPooler
from rowlock.settings.groups import DatabaseSettings

TIMEOUT_S = 2
WHICH_SESSION = "SELECT pg_backend_pid()"


async def check(url: str, settings: DatabaseSettings) -> None:
    """Raise UnsupportedPooler if what answers at `url` loses prepared statements that we need.

    Raises DatabaseUnavailable if nothing answers the services' driver.
    """
    connections: list[Direct] = []
    try:
        for _ in range(2):
            connections.append(await dialling.connect(url))
        if settings.prepared_statements:
            await _prepare_and_move(*connections)
    except asyncpg.InvalidSQLStatementNameError as error:
        raise UnsupportedPooler from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise DatabaseUnavailable(f"The database can't be reached: {error}") from error
    finally:
        for connection in connections:
            connection.terminate()


async def _prepare_and_move(one: Direct, other: Direct) -> None:
    """Use a statement of `one` while `other` holds the session in which it was prepared.

    Where a session belongs to a connection, each has its own, and nothing moves. A pooler that has
    no further session lets `one` wait: then there is nothing to be learnt.
    """
    statement = await one.prepare(WHICH_SESSION)
    await statement.fetchval()
    async with other.transaction():
        await other.execute(WHICH_SESSION)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await statement.fetchval()
        except TimeoutError:
            one.terminate()
