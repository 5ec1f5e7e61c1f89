"""The log of events: stores each event once, in order, and serves it to readers.

One transaction at a time writes, so ids are in the order of commits: a reader that goes by id
misses nothing. An event that is sent again is recognised by its sender's id. Events are kept in
partitions by month, and dropped with them.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.engine.wakes import Wake
from rowlock.errors import DatabaseBusy, EpochOutdated
from rowlock.events.reads import find_events, list_events, read_event
from rowlock.events.rules import Delivered, Delivery, MissingPartition, StoredEvent, retention_start
from rowlock.events.stream import Stream
from rowlock.events.transactions import store_events
from rowlock.settings.groups import BatchSettings, EventSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.events import DropPartitionsRow, ListEventsRow


class Events(Feature):
    """The log of events."""

    def __init__(
        self, database: Database, batches: BatchSettings, settings: EventSettings, stored: Wake
    ) -> None:
        """Make the feature; `stored` is set once some are stored."""
        super().__init__(database, batches)
        self.settings = settings
        self.stream = Stream(database, settings, stored)
        self.find: Lane[int, StoredEvent | None] = self._reads("find_event", find_events)
        self.store_one: WriteLane[Delivery, Delivered | EpochOutdated] = self._commits(
            "store_event", store_events, wakes=stored
        )
        self.store_many: WriteLane[Delivery, Delivered | EpochOutdated] = self._commits(
            "store_events",
            store_events,
            wakes=stored,
            most_items=settings.events_batch_deliveries,
        )

    async def list_oldest(
        self, *, name: str | None, subject: str | None, after: int, page_size: int
    ) -> Sequence[StoredEvent]:
        """Return a page of the log, oldest first: events with ids above `after`.

        Of one name and of one subject, if these are not None.
        """
        async with self.database.reader() as connection:
            if subject is not None:
                rows: Sequence[ListEventsRow] = await queries.events.list_events_by_subject(
                    connection, subject=subject, name=name, after=after, page_size=page_size
                )
            elif name is not None:
                rows = await queries.events.list_events_by_name(
                    connection, name=name, after=after, page_size=page_size
                )
            else:
                return await list_events(connection, after=after, page_size=page_size)
        return [read_event(row) for row in rows]

    async def list_newest(
        self, *, name: str | None, subject: str | None, before: int, page_size: int
    ) -> Sequence[StoredEvent]:
        """Return a page of the log, newest first: events with ids below `before`.

        Of one name and of one subject, if these are not None.
        """
        async with self.database.reader() as connection:
            if subject is not None:
                rows: Sequence[ListEventsRow] = await queries.events.list_newest_events_by_subject(
                    connection, subject=subject, name=name, before=before, page_size=page_size
                )
            elif name is not None:
                rows = await queries.events.list_newest_events_by_name(
                    connection, name=name, before=before, page_size=page_size
                )
            else:
                rows = await queries.events.list_newest_events(
                    connection, before=before, page_size=page_size
                )
        return [read_event(row) for row in rows]

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

        While the month is excluded, the intake answers PartitionBeingMade to its events.
        """
        async with self.database.transaction() as connection:
            await queries.events.lock_log(connection)
            [row] = await queries.events.exclude_month(connection, month=month)
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
