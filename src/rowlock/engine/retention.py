"""Delete expired rows in pages."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Literal, Protocol

import structlog

from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.settings import Settings
from rowlock.settings.groups import TaskSettings

logger = structlog.get_logger(__name__)


class Purged(Protocol):
    """The row that the statement of a purge returns: how many rows it has deleted."""

    def __getitem__(self, key: Literal["purged"], /) -> int: ...


# Deletes expired rows, at most a page; returns how many those were.
Purge = Callable[[Connection, int], Awaitable[Sequence[Purged]]]


def purging(
    name: str, database: Database, purge: Purge, *, pause_s: float, settings: TaskSettings
) -> Task:
    """Return a task that deletes page after page, and pauses `pause_s` after the last one."""
    page_size = settings.housekeeping_rows

    async def keep_purging() -> None:
        removed = 0
        while True:
            async with database.connection() as connection:
                [row] = await purge(connection, page_size)
            removed += row["purged"]
            if row["purged"] < page_size:
                if removed:
                    logger.info("rows_purged", rows=removed)
                removed = 0
                await asyncio.sleep(pause_s)

    return Task(name, keep_purging)


def purge_answers(database: Database, settings: Settings) -> Task:
    """Return the task that deletes the answers of expired idempotency keys."""
    keep = timedelta(seconds=settings.batches.idempotency_keep_s)

    async def purge(connection: Connection, page_size: int) -> Sequence[Purged]:
        return await queries.idempotency.purge_answers(connection, keep=keep, page_size=page_size)

    pause_s = settings.batches.idempotency_purge_s
    return purging("idempotency_purge", database, purge, pause_s=pause_s, settings=settings.tasks)
