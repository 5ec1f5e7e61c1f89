"""Removing events from the outbox some time after their delivery, and dead letters that are old."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.engine.retention import purging
from rowlock.engine.tasks import Task
from rowlock.settings import Settings


def purge_outbox(database: Database, settings: Settings, is_due: Callable[[], bool]) -> Task:
    """Return the task that removes events from the outbox that were delivered long enough ago.

    It looks for them while `is_due`. A look reads a page of what is kept, so one process is enough.
    """
    delivery = settings.delivery
    keep = outbox.Keep(timedelta(seconds=delivery.outbox_keep_s), delivery.outbox_keep_events)

    async def purge(page_size: int) -> int:
        return await outbox.purge_delivered(database, keep, page_size) if is_due() else 0

    return purging("outbox_purge", purge, pause_s=delivery.outbox_purge_s, settings=settings.tasks)


def purge_dead_letters(database: Database, settings: Settings) -> Task:
    """Return the task that removes dead letters which no operator has replayed for long."""
    delivery = settings.delivery
    keep = timedelta(seconds=delivery.dead_letters_keep_s)
    return purging(
        "dead_letters_purge",
        partial(outbox.purge_dead, database, keep),
        pause_s=delivery.dead_letters_purge_s,
        settings=settings.tasks,
    )
