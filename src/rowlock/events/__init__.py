"""The events service: stores what happened, once, in order, and gives it to its readers.

One transaction at a time writes, so that ids are in the order of commits: a reader who goes by id
misses nothing. An event that is sent again is known by its sender's id. Events are kept in
partitions by month, and dropped with these.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Wake
from rowlock.events.rules import Delivered, NewEvent, StoredEvent
from rowlock.events.stream import Stream
from rowlock.events.transactions import find_events, read_event, store_events
from rowlock.settings.groups import BatchSettings, EventSettings

if TYPE_CHECKING:
    from rowlock.engine.typed.events import ListEventsRow


class Events(Feature):
    """The log of events."""

    def __init__(self, database: Database, batches: BatchSettings, settings: EventSettings) -> None:
        super().__init__(database, batches)
        self.settings = settings
        stored = Wake()  # set once this process has stored some
        self.stream = Stream(database, settings, stored)
        self.find: Lane[int, StoredEvent | None] = self._reads("find_event", find_events)
        self.store_one: Lane[Sequence[NewEvent], Delivered] = self._commits(
            "store_event", store_events, wakes=stored
        )
        self.store_many: Lane[Sequence[NewEvent], Delivered] = self._commits(
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
                rows = await queries.events.list_events(
                    connection, after=after, page_size=page_size
                )
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
