"""The end of the log, held in memory for the clients of the live stream.

One task reads the new events, however many clients listen. A client within the held events is
served from memory; one that is further behind pages through the database. Without clients, the
task reads nothing.
"""

import asyncio
import bisect
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import Wake
from rowlock.events.places import Places
from rowlock.events.reads import list_events, list_oldest
from rowlock.events.rules import StoredEvent, Unknown, Wanted
from rowlock.settings.features import EventSettings

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


async def wait_for(
    more: asyncio.Event, ended: Collection["asyncio.Task[Any]"], timeout_s: float | None
) -> None:
    """Return once `more` is set, one of `ended` is done, or `timeout_s` is over."""
    changed = asyncio.create_task(more.wait())
    try:
        await asyncio.wait(
            (changed, *ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        changed.cancel()


class Stream:
    """The live stream: the tail, the task that keeps it up to date, and pages of older events."""

    def __init__(
        self, database: Database, places: Places, settings: EventSettings, stored: Wake
    ) -> None:
        self.task = Task("event_feed", self.follow)
        self.tail = Tail(settings.stream_held_events)
        self.places = places
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
            self.tail.begin_at((await self.places.find_end()).id)
            self.places.era += 1  # after an outage, what was held may have been lost
            while self._listeners:
                await self._read_on()

    async def _read_on(self) -> None:
        """Read a page of new events; wait for more after the last one."""
        page_size = self._settings.stream_page_events
        async with self._database.connection() as connection:
            page = await list_events(connection, after=self.tail.last_id, page_size=page_size)
        if page.events:
            if await self.places.learn(page.epoch):
                self.tail.begin_at(page.events[0].id - 1)  # what is held may have been lost
            self.tail.append(page.events)
        if len(page.events) < page_size:
            await self._stored.wait(self._settings.stream_poll_s)

    async def read_after(self, place: int, wanted: Wanted) -> tuple[Sequence[StoredEvent], int]:
        """Return the next wanted events after `place`, from memory if they are held there.

        And the place up to which there are no others.
        """
        held = self.tail.after(place)
        if held is not None:
            wanted_ones = held if wanted.takes_all else [one for one in held if wanted.takes(one)]
            return wanted_ones, held[-1].id if held else place
        page_size = self._settings.stream_page_events
        end, epoch = place, None
        async with self._database.reader() as connection:
            if not wanted.takes_all:
                # First: what is stored after this may be missing in the page. By the same
                # connection: another one may see more.
                [row] = await queries.events.find_end(connection)
                end, epoch = max(place, row["id"]), row["epoch"]
            page = await list_oldest(connection, wanted=wanted, after=place, page_size=page_size)
        epoch = page.epoch if page.epoch is not None else epoch
        if epoch is not None:
            await self.places.learn(epoch)
        if len(page.events) == page_size:
            return page.events, page.events[-1].id
        return page.events, max([end, *(event.id for event in page.events[-1:])])


class Reader:
    """A client of the stream: what it wants of the log, and its place there."""

    def __init__(self, stream: Stream, place: int, wanted: Wanted) -> None:
        """Begin after the event with the id `place`."""
        self.place = place
        self._stream = stream
        self._wanted = wanted
        self._era: int | None = None  # in which the log had the place

    async def read_on(self) -> Sequence[StoredEvent] | Unknown:
        """Return the next events that are wanted, none if there are none yet; move on past others.

        If the log does not have the reader's place, return where it goes on from.
        """
        events, place = await self._stream.read_after(self.place, self._wanted)
        places = self._stream.places
        if self._era != places.era:
            era = places.era
            unknown = await places.find_unknown(self.place)
            self._era = era
            if unknown is not None:
                self.place = unknown.last_valid_id
                return unknown
        self.place = place
        return events
