"""How long events are kept: partitions by month, and what is purged row by row."""

import asyncio

import structlog

from rowlock.engine.retention import purging
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy
from rowlock.events import Events
from rowlock.settings.groups import TaskSettings

logger = structlog.get_logger(__name__)


def purge_strays(events: Events, tasks: TaskSettings) -> Task:
    """Return the task that removes events past the retention that are in no month's partition."""
    pause_s = events.settings.partitions_check_s
    return purging("events_purge", events.purge_strays, pause_s=pause_s, settings=tasks)


def purge_keys(events: Events, tasks: TaskSettings) -> Task:
    """Return the task that removes the keys of events past the retention."""
    pause_s = events.settings.partitions_check_s
    return purging("event_keys_purge", events.purge_keys, pause_s=pause_s, settings=tasks)


class Partitions:
    """Drops the partitions past the retention; makes those within it, and some ahead.

    A transaction that reads for long, such as a dump, blocks both. That can wait: events without a
    partition are stored, found and purged all the same.
    """

    def __init__(self, events: Events) -> None:
        self.task = Task("events_partitions", self.run)
        self._events = events

    async def run(self) -> None:
        """Check the partitions now and then, and sooner after a check that was blocked."""
        settings = self._events.settings
        retry_s = settings.partitions_retry_s
        while True:
            if await self._renew():
                retry_s = settings.partitions_retry_s
                await asyncio.sleep(settings.partitions_check_s)
                continue
            log = logger.info if retry_s < settings.partitions_check_s else logger.warning
            log("partitions_wait", retry_s=retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, settings.partitions_check_s)

    async def _renew(self) -> bool:
        """Drop and make what can be now; return whether that is everything."""
        is_complete = True
        for renew in (self._drop, self._make):
            try:
                await renew()
            except DatabaseBusy:
                is_complete = False
        return is_complete

    async def _drop(self) -> None:
        for row in await self._events.drop_partitions():
            # About how many; None where PostgreSQL has not counted them.
            logger.warning("partition_dropped", partition=row["partition"], events=row["events"])

    async def _make(self) -> None:
        for missing in await self._events.find_missing_partitions():
            if missing.too_many:  # they stay where they are, and are purged there
                logger.warning("partition_not_made", month=f"{missing.month:%Y-%m}")
            else:
                await self._events.make_partition(missing.month)
