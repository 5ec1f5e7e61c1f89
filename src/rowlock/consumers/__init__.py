"""Consumers: named cursors in the log of events, kept for their readers.

A reader takes the events after its consumer's position, and acknowledges them once it is done with
them: until then it gets them again. Positions are in the log's own database, so they go back
together if a failover loses what was written last.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from rowlock.consumers.reads import find_consumers, find_positions, read_consumer
from rowlock.consumers.rules import (
    Acknowledge,
    Consumer,
    DeleteConsumer,
    Placed,
    PutConsumer,
)
from rowlock.consumers.transactions import acknowledge, delete_consumers, put_consumers
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.errors import Overloaded
from rowlock.events import Events
from rowlock.events.places import refusal
from rowlock.events.reads import list_events
from rowlock.events.rules import StoredEvent, Unknown, Wanted
from rowlock.events.stream import Reader, wait_for
from rowlock.rejections import ConsumerNotFound, PositionUnknown, Rejection
from rowlock.settings.features import ConsumerSettings
from rowlock.settings.groups import BatchSettings


class Consumers(Feature):
    """The consumers of a log of events."""

    def __init__(
        self,
        database: Database,
        batches: BatchSettings,
        settings: ConsumerSettings,
        events: Events,
    ) -> None:
        super().__init__(database, batches)
        self._settings = settings
        self._events = events
        self._waiting = 0
        self.find: Lane[str, Consumer | None] = self._reads("find_consumer", find_consumers)
        self.find_position: Lane[str, int | None] = self._reads(
            "find_consumer_position", find_positions
        )
        self.put: WriteLane[PutConsumer, Placed | Rejection] = self._commits(
            "put_consumer", put_consumers
        )
        self.delete: WriteLane[DeleteConsumer, int | Rejection] = self._commits(
            "delete_consumer", delete_consumers
        )
        self.acknowledge: WriteLane[Acknowledge, Consumer | Rejection] = self._commits(
            "acknowledge_events", acknowledge
        )

    async def list_page(self, *, before: int, page_size: int) -> Sequence[Consumer]:
        """Return a page of consumers, newest first: those with ids below `before`."""
        rows = await self.database.read(
            partial(queries.consumers.list_consumers, before=before, page_size=page_size)
        )
        return [read_consumer(row) for row in rows]

    async def find_place(self, start: int | datetime) -> int:
        """Return the position of a consumer that begins at `start`.

        That is the id of the first event that it gets, or a time before which it gets none. Raises
        PositionUnknown if the log has no such id, nor gives it to the next event.
        """
        if isinstance(start, datetime):
            async with self.database.connection() as connection:
                [of_time] = await queries.consumers.find_place_of_time(connection, since=start)
            return of_time["position"]
        async with self.database.connection() as connection:
            [of_id] = await queries.consumers.find_place_of_event(connection, first_id=start)
        if start != of_id["newest"] + 1:
            await self._events.places.refuse_unknown(start)
        return of_id["position"]

    async def find_log(self) -> str:
        """Return what the log is called."""
        async with self.database.connection() as connection:
            [row] = await queries.events.find_log(connection)
        return str(row["log"])

    async def read(
        self, name: str, *, page_size: int, wait_s: float, ended: Collection["asyncio.Task[object]"]
    ) -> Sequence[StoredEvent]:
        """Return the next events of a consumer; if there are none, wait for some.

        For `wait_s` at most, and until one of `ended` is done. Raises ConsumerNotFound,
        PositionUnknown, and Overloaded if too many wait.
        """
        position = await self._find_position(name)
        async with self.database.reader() as connection:
            page = await list_events(connection, after=position, page_size=page_size)
        await self._events.places.refuse_unknown(position, page.epoch)
        if page.events and position and page.events[0].id != position + 1:
            await self._refuse_dropped(position)
        if page.events or not wait_s:
            return page.events
        with self._one_more_waits():
            return await self._wait(name, position, page_size, wait_s, ended)

    async def _wait(
        self,
        name: str,
        position: int,
        page_size: int,
        wait_s: float,
        ended: Collection["asyncio.Task[object]"],
    ) -> Sequence[StoredEvent]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        stream = self._events.stream
        reader = Reader(stream, position, Wanted())
        with stream.listening():
            while True:
                more = stream.tail.changed  # taken before the look, so that none is missed
                events = await reader.read_on()
                if isinstance(events, Unknown):
                    raise refusal(events)
                if events:
                    # Others may have acknowledged, reset or deleted it meanwhile.
                    now = await self._find_position(name)
                    if now == position:
                        return events[:page_size]
                    position, reader = now, Reader(stream, now, Wanted())
                    continue
                left_s = deadline - loop.time()
                if left_s <= 0 or any(end.done() for end in ended):
                    return ()
                await wait_for(more, ended, left_s)

    async def _find_position(self, name: str) -> int:
        position = await self.find_position.submit(name)
        if position is None:
            raise ConsumerNotFound.of(name)
        return position

    async def _refuse_dropped(self, position: int) -> None:
        """Raise PositionUnknown if events after a position may have been dropped by now."""
        async with self.database.connection() as connection:
            [row] = await queries.consumers.find_oldest(connection, position=position)
        oldest = row["oldest"]
        if oldest is not None and not row["is_kept"] and position < oldest:
            raise PositionUnknown(
                f"What followed event {position} is not kept any more. The oldest event that is "
                f"kept is {oldest}: reset the consumer.",
                last_valid_id=0,
                first_id_after=oldest,
            )

    @contextmanager
    def _one_more_waits(self) -> Iterator[None]:
        if self._waiting >= self._settings.consumers_waiting:
            raise Overloaded
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
