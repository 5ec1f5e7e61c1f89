"""The end of the log, held in memory for the clients of the live stream.

One task reads the new events, however many clients listen. A client within the held events is
served from memory; one that is further behind pages through the database. Without clients, the
task reads nothing.
"""

import asyncio
import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rowlock.engine.database import Database
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import Wake
from rowlock.events.reads import find_last_id, list_events
from rowlock.events.rules import StoredEvent
from rowlock.settings.groups import EventSettings

STORED = "events_stored"  # the channel of the wake


class Tail:
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
        """Set once more events come. To miss none: take it first, then look, then wait."""
        return self._changed

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Stream:
    """The live stream: the tail, the task that keeps it up to date, and pages of older events."""

    def __init__(self, database: Database, settings: EventSettings, stored: Wake) -> None:
        self.task = Task("event_feed", self.follow)
        self.tail = Tail(settings.stream_held_events)
        self._database = database
        self._settings = settings
        self._stored = stored
        self._listeners = 0
        self._wanted = asyncio.Event()  # set while there are listeners

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep the tail up to date meanwhile."""
        self._listeners += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._wanted.clear()

    async def follow(self) -> None:
        """Read new events as they are stored, here or elsewhere, while there are listeners."""
        while True:
            await self._wanted.wait()
            async with self._database.connection() as connection:
                self.tail.begin_at(await find_last_id(connection))
            while self._listeners:
                await self._read_on()

    async def _read_on(self) -> None:
        """Read a page of new events; wait for more after the last one."""
        page_size = self._settings.stream_page_events
        async with self._database.connection() as connection:
            events = await list_events(connection, after=self.tail.last_id, page_size=page_size)
        if events:
            self.tail.append(events)
        if len(events) < page_size:
            await self._stored.wait(self._settings.stream_poll_s)

    async def find_last_id(self) -> int:
        """Return the id of the newest event in the log: the tail may lag, or not have begun."""
        async with self._database.reader() as connection:
            return await find_last_id(connection)

    async def read_after(self, event_id: int) -> Sequence[StoredEvent]:
        """Return the next events after `event_id`, from memory if they are held there."""
        events = self.tail.after(event_id)
        if events is None:
            async with self._database.reader() as connection:
                return await list_events(
                    connection, after=event_id, page_size=self._settings.stream_page_events
                )
        return events
