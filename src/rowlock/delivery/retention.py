"""Removing events from the outbox some time after their delivery, and dead letters that are old."""

from datetime import timedelta
from functools import partial

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.engine.retention import purging
from rowlock.engine.tasks import Task
from rowlock.settings import Settings


def purge_outbox(database: Database, settings: Settings) -> Task:
    """Return the task that removes events from the outbox that were delivered long enough ago."""
    delivery = settings.delivery
    keep = outbox.Keep(timedelta(seconds=delivery.outbox_keep_s), delivery.outbox_keep_events)
    return purging(
        "outbox_purge",
        partial(outbox.purge_delivered, database, keep),
        pause_s=delivery.outbox_purge_s,
        settings=settings.tasks,
    )


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
