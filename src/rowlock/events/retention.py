"""How long events are kept: partitions by month, and what has to go without one."""

import asyncio
from collections.abc import Sequence

import structlog

from rowlock.engine.database import Connection, Database
from rowlock.engine.retention import Purged, purging
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy
from rowlock.settings import Settings
from rowlock.settings.groups import EventSettings

logger = structlog.get_logger(__name__)


def purge_strays(database: Database, settings: Settings) -> Task:
    """Return the task that removes events past the retention that have no partition to go with."""
    events = settings.events

    async def purge(connection: Connection, page_size: int) -> Sequence[Purged]:
        return await queries.events.purge_default(
            connection, months=events.events_retention_months, page_size=page_size
        )

    pause_s = events.partitions_check_s
    return purging("events_purge", database, purge, pause_s=pause_s, settings=settings.tasks)


def purge_keys(database: Database, settings: Settings) -> Task:
    """Return the task that forgets the keys of events past the retention."""
    events = settings.events

    async def purge(connection: Connection, page_size: int) -> Sequence[Purged]:
        return await queries.events.forget_keys(
            connection, months=events.events_retention_months, page_size=page_size
        )

    pause_s = events.partitions_check_s
    return purging("event_keys_purge", database, purge, pause_s=pause_s, settings=settings.tasks)


class Partitions:
    """Drops the partitions past the retention; makes those within it, and some ahead.

    A transaction that reads for long, such as a dump, keeps partitions from coming and going. That
    can wait: events without a partition are stored, found and purged all the same.
    """

    def __init__(self, database: Database, settings: EventSettings) -> None:
        self.task = Task("events_partitions", self.keep)
        self._database = database
        self._settings = settings

    async def keep(self) -> None:
        """Look at the partitions now and then, and sooner where not all could be done."""
        settings = self._settings
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
        """Do what can be done now; tell whether that is all."""
        is_all = True
        for renew in (self._drop, self._make):
            try:
                await renew()
            except DatabaseBusy:
                is_all = False
        return is_all

    async def _drop(self) -> None:
        async with self._database.transaction() as connection:
            await queries.events.lock_log(connection)
            rows = await queries.events.drop_partitions(
                connection, months=self._settings.events_retention_months
            )
        for row in rows:
            logger.info("partition_dropped", partition=row["partition"])

    async def _make(self) -> None:
        settings = self._settings
        async with self._database.connection() as connection:
            missing = await queries.events.find_missing_partitions(
                connection,
                months_behind=min(settings.events_months_behind, settings.events_retention_months),
                months_ahead=settings.events_months_ahead,
                most_rows=settings.events_moved_rows,
            )
        for row in missing:
            if row["too_many"]:  # they stay where they are, and are purged there
                logger.warning("partition_not_made", month=f"{row['month']:%Y-%m}")
                continue
            async with self._database.transaction() as connection:
                # Writers wait: one that has chosen the default partition just now would be refused.
                await queries.events.lock_log(connection)
                await queries.events.ensure_partition(connection, month=row["month"])
