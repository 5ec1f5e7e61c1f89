"""The end of the log, as live parts of pages follow it.

A page shows what is new, not everything there was: where more has come than it shows, the oldest
are left out, and counted. So no page falls behind the log, however fast events come and however
long its tab was hidden.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from rowlock.errors import Unavailable
from rowlock.events import Events
from rowlock.events.rules import BEYOND_ALL, StoredEvent, Unknown, Wanted
from rowlock.events.stream import Reader, wait_for

MOST_ROWS = 100  # that a page shows, and that one message has
MOST_READS = 20  # of pages of the log in one go; what is more is skipped unread
PAUSE_S = 0.25  # between two messages: what comes meanwhile is in one


class Batch(NamedTuple):
    """What has come since the last batch."""

    place: int  # up to which the log was read
    events: Sequence[StoredEvent]  # oldest first
    skipped: int = 0  # left out before these
    is_exact: bool = True  # no more than `skipped` were left out


class Tail:
    """What comes to the log after a place, for one page."""

    def __init__(
        self,
        events: Events,
        place: int,
        wanted: Wanted,
        keeps: Callable[[StoredEvent], bool] = lambda _: True,
    ) -> None:
        """Follow the events that are `wanted`, and that `keeps` keeps of them."""
        self._events = events
        self._wanted = wanted
        self._keeps = keeps
        self._reader = Reader(events.stream, place, wanted)

    async def follow(self) -> AsyncIterator[Batch]:
        """Yield what comes, in batches. An outage of the database is waited for."""
        stream = self._events.stream
        poll_s = self._events.settings.stream_poll_s
        with stream.listening():
            while True:
                more = stream.tail.changed
                try:
                    batch = await self._read_on()
                except Unavailable:
                    await asyncio.sleep(poll_s)
                    continue
                if batch.events or batch.skipped:
                    yield batch
                    await asyncio.sleep(PAUSE_S)
                else:
                    await wait_for(more, (), None)

    async def _read_on(self) -> Batch:
        """Return all that has come, or the newest of it."""
        reader = self._reader
        kept: deque[StoredEvent] = deque(maxlen=MOST_ROWS)
        count = 0
        for _ in range(MOST_READS):
            before = reader.place
            found = await reader.read_on()
            if isinstance(found, Unknown):  # those events were lost: the reader goes on after them
                continue
            matching = [event for event in found if self._keeps(event)]
            count += len(matching)
            kept.extend(matching)
            if reader.place == before:
                return Batch(before, kept, count - len(kept))
        end = (await self._events.places.find_end()).id
        newest = await self._events.list_newest(
            self._wanted, before=BEYOND_ALL, page_size=MOST_ROWS
        )
        reader.place = max([end, *(event.id for event in newest[:1])])
        shown = [event for event in reversed(newest) if self._keeps(event)]
        return Batch(reader.place, shown, max(1, count - len(shown)), is_exact=False)
