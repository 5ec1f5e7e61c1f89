"""Removing events from the outbox once they are delivered."""

from functools import partial

from rowlock.engine import outbox
from rowlock.engine.database import Database
from rowlock.engine.retention import purging
from rowlock.engine.tasks import Task
from rowlock.settings import Settings


def purge_outbox(database: Database, settings: Settings) -> Task:
    """Return the task that removes delivered events from the outbox."""
    return purging(
        "outbox_purge",
        partial(outbox.purge_delivered, database),
        pause_s=settings.delivery.outbox_purge_s,
        settings=settings.tasks,
    )
