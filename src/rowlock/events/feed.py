"""The end of the log, held in memory for the clients of the live stream.

One task reads on in the log, however many clients listen. A client that is not further behind
than what is held here is served from memory, all others page through the database.
"""

import asyncio
import bisect
from collections import deque
from typing import Any

from aiohttp import web

from rowlock.queries import queries
from rowlock.tasks.supervisor import Wake
from rowlock.web.service import DATABASE, SETTINGS


class Feed:
    """The last events of the log, and a way to wait for more."""

    def __init__(self, held: int) -> None:
        self._events: deque[Any] = deque(maxlen=held)
        self._changed = asyncio.Event()
        self._start = 0  # all events above this id are held

    @property
    def last_id(self) -> int:
        """The id of the newest event known."""
        return self._events[-1]["id"] if self._events else self._start

    def begin_at(self, last_id: int) -> None:
        """Forget everything, and hold what comes after `last_id`."""
        self._events.clear()
        self._start = last_id
        self._announce()

    def append(self, events: list[Any]) -> None:
        """Add the next events of the log."""
        for event in events:
            if len(self._events) == self._events.maxlen:
                self._start = self._events[0]["id"]
            self._events.append(event)
        self._announce()

    def after(self, event_id: int) -> list[Any] | None:
        """Return the events held after `event_id`, or None if some are not held any more."""
        if event_id < self._start:
            return None
        first = bisect.bisect_right(self._events, event_id, key=lambda event: event["id"])
        return [self._events[index] for index in range(first, len(self._events))]

    @property
    def changed(self) -> asyncio.Event:
        """What is set once there is more than now: take it first, then look, then wait."""
        return self._changed

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


FEED = web.AppKey("events.feed", Feed)


async def follow(app: web.Application, wake: Wake) -> None:
    """Read on in the log, woken by this process's own intake and polling for others'."""
    settings, feed = app[SETTINGS], app[FEED]
    async with app[DATABASE].connection() as connection:
        [row] = await queries.events.find_last_id(connection)
    feed.begin_at(row["id"])
    while True:
        async with app[DATABASE].connection() as connection:
            rows = await queries.events.list_events(
                connection, after=feed.last_id, page_size=settings.stream_page_events
            )
        if rows:
            feed.append(rows)
        if len(rows) < settings.stream_page_events:
            await wake.wait(settings.stream_poll_s)
