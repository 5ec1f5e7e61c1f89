"""Leases, as another process takes them, and how the previous release did without."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

from rowlock.engine.database import Database
from rowlock.engine.leases import lead
from rowlock.engine.statements import queries
from rowlock.settings import Settings
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


class Contender:
    """What leads, or waits for the lead, as a process of its own would: on a pool of its own."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.epochs: list[int] = []
        self.cancelled = False
        self.began_at = self.ended_at = math.inf  # the work, by the loop's clock
        self.mishap: Exception | None = None  # what the work raises at its end
        self.told_to_end = asyncio.Event()
        leading = lead(RELAY, database, self._work, settings.leases)
        self.task = asyncio.create_task(leading)

    async def _work(self, epoch: int) -> None:
        loop = asyncio.get_running_loop()
        self.epochs.append(epoch)
        self.began_at = loop.time()
        try:
            await self.told_to_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended_at = loop.time()
        if self.mishap is not None:
            raise self.mishap

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


Contend: TypeAlias = Callable[..., Awaitable[Contender]]
