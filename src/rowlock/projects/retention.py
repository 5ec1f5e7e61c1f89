"""Forgetting signed webhook messages that their senders no longer repeat."""

from collections.abc import Sequence
from datetime import timedelta

from rowlock.engine.database import Connection, Database
from rowlock.engine.retention import Purged, purging
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.settings import Settings


def purge_webhook_messages(database: Database, settings: Settings) -> Task:
    """Return the task that forgets them."""
    keep = timedelta(seconds=settings.projects.webhook_keep_s)

    async def purge(connection: Connection, page_size: int) -> Sequence[Purged]:
        return await queries.projects.purge_webhook_messages(
            connection, keep=keep, page_size=page_size
        )

    pause_s = settings.projects.webhook_purge_s
    return purging("webhook_purge", database, purge, pause_s=pause_s, settings=settings.tasks)
