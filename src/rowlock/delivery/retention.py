"""Removing events from the outbox once they are delivered."""

from collections.abc import Sequence

from rowlock.engine.database import Connection, Database
from rowlock.engine.retention import Purged, purging
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.settings import Settings


def purge_outbox(database: Database, settings: Settings) -> Task:
    """Return the task that removes delivered events from the log."""

    async def purge(connection: Connection, page_size: int) -> Sequence[Purged]:
        return await queries.outbox.purge_delivered(connection, page_size=page_size)

    pause_s = settings.delivery.outbox_purge_s
    return purging("outbox_purge", database, purge, pause_s=pause_s, settings=settings.tasks)
