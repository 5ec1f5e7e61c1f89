"""The end of the log, held in memory for the clients of the live stream.

One task reads on in the log, however many clients listen. A client that is not further behind
than what is held here is served from memory, all others page through the database.
"""

import asyncio
import bisect
from collections import deque
from collections.abc import Sequence

from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task, Wake
from rowlock.events.rules import StoredEvent
from rowlock.events.transactions import read_event
from rowlock.settings.groups import EventSettings


class Feed:
    """The last events of the log, and a way to wait for more."""

    def __init__(self, held: int) -> None:
        self._events: deque[StoredEvent] = deque(maxlen=held)
        self._changed = asyncio.Event()
        self._start = 0  # all events above this id are held

    @property
    def last_id(self) -> int:
        """The id of the newest event known."""
        return self._events[-1].id if self._events else self._start

    def begin_at(self, last_id: int) -> None:
        """Forget everything, and hold what comes after `last_id`."""
        self._events.clear()
        self._start = last_id
        self._announce()

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Add the next events of the log."""
        for event in events:
            if len(self._events) == self._events.maxlen:
                self._start = self._events[0].id
            self._events.append(event)
        self._announce()

    def after(self, event_id: int) -> Sequence[StoredEvent] | None:
        """Return the events held after `event_id`, or None if some are not held any more."""
        if event_id < self._start:
            return None
        first = bisect.bisect_right(self._events, event_id, key=lambda event: event.id)
        return [self._events[index] for index in range(first, len(self._events))]

    @property
    def changed(self) -> asyncio.Event:
        """What is set once there is more than now: take it first, then look, then wait."""
        return self._changed

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Stream:
    """The live stream: the feed, the task that keeps it up to date, and what is behind it."""

    def __init__(self, database: Database, settings: EventSettings, stored: Wake) -> None:
        self.task = Task("event_feed", self.follow)
        self.feed = Feed(settings.stream_held_events)
        self._database = database
        self._settings = settings
        self._stored = stored

    async def follow(self) -> None:
        """Read on in the log, woken by this process's own intake and polling for others'."""
        page_size = self._settings.stream_page_events
        async with self._database.connection() as connection:
            self.feed.begin_at(await _find_last_id(connection))
        while True:
            async with self._database.connection() as connection:
                events = await _list_events(connection, self.feed.last_id, page_size)
            if events:
                self.feed.append(events)
            if len(events) < page_size:
                await self._stored.wait(self._settings.stream_poll_s)

    async def find_last_id(self) -> int:
        """Return where the log ends. Not the feed, which may lag behind, or not have begun yet."""
        async with self._database.reader() as connection:
            return await _find_last_id(connection)

    async def read_after(self, event_id: int) -> Sequence[StoredEvent]:
        """Return the next events after `event_id`, from memory if they are held there."""
        events = self.feed.after(event_id)
        if events is None:
            async with self._database.reader() as connection:
                events = await _list_events(connection, event_id, self._settings.stream_page_events)
        return events


async def _find_last_id(connection: Connection) -> int:
    [row] = await queries.events.find_last_id(connection)
    return row["id"]


async def _list_events(connection: Connection, after: int, page_size: int) -> Sequence[StoredEvent]:
    rows = await queries.events.list_events(connection, after=after, page_size=page_size)
    return [read_event(row) for row in rows]
