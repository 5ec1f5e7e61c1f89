"""The log of events: stores each event once, in order, and serves it to readers.

One transaction at a time writes, so ids are in the order of commits: a reader that goes by id
misses nothing. An event that is sent again is recognised by its sender's id. Events are kept in
partitions by month, and dropped with them.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.engine.wakes import Wake
from rowlock.errors import DatabaseBusy
from rowlock.events.places import Places
from rowlock.events.reads import find_events, list_newest, list_oldest
from rowlock.events.rules import (
    BEYOND_ALL,
    Delivered,
    Delivery,
    MissingPartition,
    StoredEvent,
    Wanted,
    retention_start,
)
from rowlock.events.stream import Stream
from rowlock.events.transactions import store_events
from rowlock.rejections import EpochOutdated, LogMoved
from rowlock.settings.features import EventSettings
from rowlock.settings.groups import BatchSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.events import DropPartitionsRow


class Events(Feature):
    """The log of events."""

    def __init__(
        self, database: Database, batches: BatchSettings, settings: EventSettings, stored: Wake
    ) -> None:
        """Make the feature; `stored` is set once some are stored."""
        super().__init__(database, batches)
        self.settings = settings
        self.places = Places(database)
        self.stream = Stream(database, self.places, settings, stored)
        self.find: Lane[int, StoredEvent | None] = self._reads("find_event", find_events)
        self.store_one: WriteLane[Delivery, Delivered | EpochOutdated | LogMoved] = self._commits(
            "store_event", store_events, wakes=stored
        )
        self.store_many: WriteLane[Delivery, Delivered | EpochOutdated | LogMoved] = self._commits(
            "store_events",
            store_events,
            wakes=stored,
            most_items=settings.events_batch_deliveries,
        )

    async def list_oldest(
        self, wanted: Wanted, *, after: int, page_size: int
    ) -> Sequence[StoredEvent]:
        """Return a page of what is wanted of the log, oldest first: ids above `after`.

        Raises PositionUnknown.
        """
        page = await self.database.read(
            partial(list_oldest, wanted=wanted, after=after, page_size=page_size)
        )
        await self.places.refuse_unknown(after, page.epoch)
        return page.events

    async def list_newest(
        self, wanted: Wanted, *, before: int, page_size: int
    ) -> Sequence[StoredEvent]:
        """Return a page of what is wanted of the log, newest first: ids below `before`.

        BEYOND_ALL is above all ids. Raises PositionUnknown.
        """
        events = await self.database.read(
            partial(list_newest, wanted=wanted, before=before, page_size=page_size)
        )
        if before != BEYOND_ALL:
            await self.places.refuse_unknown(before)
        return events

    async def purge_strays(self, page_size: int) -> int:
        """Remove at most `page_size` events past the retention that are in no month's partition.

        Returns how many it removed.
        """
        async with self.database.transaction() as connection:
            before = await self._find_retention_start(connection)
            [row] = await queries.events.purge_default(
                connection, before=before, page_size=page_size
            )
        return row["purged"]

    async def purge_keys(self, page_size: int) -> int:
        """Remove the keys of at most `page_size` events past the retention.

        Returns how many it removed. An event that is sent again after that is stored again.
        """
        async with self.database.transaction() as connection:
            before = await self._find_retention_start(connection)
            [row] = await queries.events.forget_keys(connection, before=before, page_size=page_size)
        return row["purged"]

    async def drop_partitions(self) -> "Sequence[DropPartitionsRow]":
        """Drop the partitions past the retention; return what they were. Raises DatabaseBusy."""
        async with self.database.transaction() as connection:
            await queries.events.lock_log(connection)
            before = await self._find_retention_start(connection)
            return await queries.events.drop_partitions(connection, before=before.date())

    async def _find_retention_start(self, connection: Connection) -> datetime:
        """Return the start of the oldest month that is kept.

        It is counted back from the earliest of three times: that of this machine's clock, of the
        database's, and of the newest event. A clock that is ahead must not remove what was stored
        lately.
        """
        [row] = await queries.events.find_times(connection)
        now = min(datetime.now(UTC), row["now"], row["newest"] or row["now"])
        return retention_start(now, self.settings.events_retention_months)

    async def find_missing_partitions(self) -> Sequence[MissingPartition]:
        """Return the months within the retention, and some ahead, that have no partition."""
        settings = self.settings
        async with self.database.connection() as connection:
            rows = await queries.events.find_missing_partitions(
                connection,
                months_behind=min(settings.events_months_behind, settings.events_retention_months),
                months_ahead=settings.events_months_ahead,
                most_rows=settings.events_moved_rows,
            )
        return [MissingPartition(row["month"], row["too_many"]) for row in rows]

    async def make_partition(self, month: date) -> None:
        """Make the partition of a month, and move its events there. Raises DatabaseBusy.

        While the month is excluded, the intake answers PartitionBeingMade to its events. A small
        default partition is read instead: that takes less time than a client's next try.
        """
        async with self.database.transaction() as connection:
            await queries.events.lock_log(connection)
            [row] = await queries.events.exclude_month(
                connection, month=month, unproven_bytes=self.settings.events_unproven_bytes
            )
        try:
            if row["excluded"]:
                # Without the log's lock: this reads the default partition, and events come in.
                async with self.database.transaction() as connection:
                    await queries.events.verify_month(connection, month=month)
            async with self.database.transaction() as connection:
                # Writers wait: one that has chosen the default partition just now would be refused.
                await queries.events.lock_log(connection)
                await queries.events.ensure_partition(connection, month=month)
        except DatabaseBusy:
            # The month's events need not wait for the next try, unless this is blocked as well.
            async with self.database.transaction() as connection:
                await queries.events.lock_log(connection)
                await queries.events.admit_month(connection, month=month)
            raise
