"""Delete expired rows in pages."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from rowlock.engine import once
from rowlock.engine.database import Database
from rowlock.engine.tasks import Task
from rowlock.settings import Settings
from rowlock.settings.groups import TaskSettings

logger = structlog.get_logger(__name__)

# Deletes expired rows, at most so many; returns how many those were.
Purge = Callable[[int], Awaitable[int]]


def purging(name: str, purge: Purge, *, pause_s: float, settings: TaskSettings) -> Task:
    """Return a task that deletes page after page, and pauses `pause_s` after the last one."""
    page_size = settings.housekeeping_rows

    async def keep_purging() -> None:
        total = 0
        while True:
            removed = await purge(page_size)
            total += removed
            if removed < page_size:
                if total:
                    logger.info("rows_purged", rows=total)
                total = 0
                await asyncio.sleep(pause_s)

    return Task(name, keep_purging)


def purge_answers(database: Database, settings: Settings) -> Task:
    """Return the task that deletes the answers of expired idempotency keys."""
    batches = settings.batches
    keep = timedelta(seconds=batches.idempotency_keep_s)

    async def purge(page_size: int) -> int:
        return await once.purge_answers(database, keep, page_size)

    return purging(
        "idempotency_purge", purge, pause_s=batches.idempotency_purge_s, settings=settings.tasks
    )
