"""Group commit and group read: concurrent requests share one transaction, or one statement.

There is no timer. While one batch runs, the next one gathers: an idle service runs a batch of one
at once, a busy one runs hundreds together. A single command is a batch of one; there is no other
code path.
"""

import asyncio
import contextlib
import contextvars
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog

from rowlock.engine.database import Connection, Database
from rowlock.engine.faults import is_retryable
from rowlock.engine.locks import Aside
from rowlock.engine.once import KeptAnswer, Once, execute_once
from rowlock.engine.wakes import Wake
from rowlock.errors import DatabaseBusy, Draining, OutcomeUnknown, Overloaded, Unavailable
from rowlock.rejections import IdempotencyKeyReused
from rowlock.settings.groups import BatchSettings

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)
AnyLane = TypeVar("AnyLane", bound="Lane[Any, Any]")

# Locks, decides and writes a batch of commands; returns their results in the same order.
Execute = Callable[[Connection, list[Item]], Awaitable[Sequence[Result]]]
# Gets unique keys; returns what it found, by key.
Fetch = Callable[[Connection, list[Key]], Awaitable[Mapping[Key, Result]]]

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Entry:
    """An item of a lane, and the caller who waits for its result."""

    item: Any
    future: asyncio.Future[Any]
    arrived: float  # the loop's clock, seconds
    row: Aside | None = None  # that it waits for, if it was left aside


class Observer:
    """Receives what a lane does. This base class ignores it; `http.metrics` counts."""

    def ran(self, items: int, wait_s: float, duration_s: float) -> None:
        """Note a batch that has succeeded or failed, and how long its first item had waited."""

    def retried(self) -> None:
        """Note a batch that runs again because it conflicted with another transaction."""

    def split(self) -> None:
        """Note a batch that has failed and runs again in parts."""

    def refused(self, reason: str) -> None:
        """Note an item refused because of `queue_full`, `too_late` or `draining`."""


class Lane(Generic[Item, Result]):
    """A queue of items of one kind, taken in arrival order by one batch at a time.

    `run` gets the items of a batch and returns their results in the same order. If it raises, the
    batch runs again in ever smaller parts, so that only the faulty item fails. `Unavailable` is not
    the fault of an item: the whole batch fails.
    """

    _too_late: type[Unavailable] = Overloaded

    def __init__(
        self,
        name: str,
        run: Callable[[list[Any]], Awaitable[Sequence[Any]]],
        settings: BatchSettings,
    ) -> None:
        self.name = name
        self.observer = Observer()
        self.committed = Wake()  # set by each commit; reads have none
        self._run = run
        self._settings = settings
        self._waiting: deque[Entry] = deque()
        self._drain_task: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._closed = False
        self._has_failed_to_tell = False

    @property
    def waiting(self) -> int:
        """How many items wait for the next batch."""
        return len(self._waiting)

    async def submit(self, item: Item) -> Result:
        """Put `item` into the next batch and return its result.

        Cancelling the caller does not withdraw the item: its batch runs all the same.
        Raises Overloaded if the queue is full or the wait too long, Draining after `close()`, and
        what the batch raised for this item.
        """
        if self._closed:
            self._tell(self.observer.refused, "draining")
            raise Draining
        if len(self._waiting) >= self._settings.batch_queue:
            self._tell(self.observer.refused, "queue_full")
            raise Overloaded
        loop = asyncio.get_running_loop()
        entry = Entry(item, loop.create_future(), loop.time())
        self._waiting.append(entry)
        if self._drain_task is None:
            self._start()
        try:
            result: Result = await entry.future
        finally:
            # A reference cycle: entry, future, exception, its traceback, this frame.
            del entry
        return result

    async def close(self) -> None:
        """Take no more items; return once every item taken has its result or its error."""
        self._closed = True
        if self._drain_task is not None:
            await asyncio.wait([self._drain_task])
        await asyncio.gather(*self._answering, return_exceptions=True)

    def _start(self) -> None:
        # A fresh context: a batch serves many requests and must not log one request's id.
        self._drain_task = asyncio.get_running_loop().create_task(
            self._drain(), name=f"lane {self.name}", context=contextvars.Context()
        )
        self._drain_task.add_done_callback(self._note_drained)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), self._settings.batch_items)
                await self._settle([self._waiting.popleft() for _ in range(size)])
        finally:
            self._end_drain()

    def _end_drain(self) -> None:
        self._drain_task = None  # the next item starts another
        while self._waiting:  # this was cancelled: they have not been tried
            fail(self._waiting.popleft(), Unavailable())

    def _note_drained(self, task: asyncio.Task[None]) -> None:
        if task is self._drain_task:  # it was cancelled before it began
            self._end_drain()

    async def _settle(self, entries: list[Entry]) -> None:
        """Give every entry its result or its error. Raises only CancelledError."""
        parts = deque([entries])
        try:
            while parts:
                part = self._refuse_late(parts[0])
                try:
                    results = await self._run_observed(part) if part else ()
                except Exception as error:
                    parts.popleft()
                    parts.extendleft(reversed(self._split(part, error)))
                else:
                    parts.popleft()
                    self._hand_out(part, results)
        finally:
            for part in parts:  # this was cancelled
                for entry in part:
                    fail(entry, OutcomeUnknown())

    def _split(self, entries: list[Entry], error: Exception) -> list[list[Entry]]:
        """Return the parts in which a failed batch runs again; none if all have got their error."""
        # Another transaction may hold a lock that only one of the items needs.
        busy = isinstance(error, DatabaseBusy)
        shared = isinstance(error, Unavailable) and not busy
        if shared or len(entries) == 1:
            for entry in entries:
                fail(entry, error)
            return []
        self._tell(self.observer.split)
        log(logger.warning, "batch_split", lane=self.name, items=len(entries), error=repr(error))
        # Halving finds the faulty item in few transactions. After a lock timeout, run items
        # one by one: each half would wait for the lock again.
        size = 1 if busy else (len(entries) + 1) // 2
        return [entries[start : start + size] for start in range(0, len(entries), size)]

    async def _run_observed(self, entries: list[Entry]) -> Sequence[Result]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            results = await self._run([entry.item for entry in entries])
        finally:
            wait_s = started - entries[0].arrived
            self._tell(self.observer.ran, len(entries), wait_s, loop.time() - started)
        assert len(results) == len(entries), (len(results), len(entries))
        return results

    def _hand_out(self, entries: list[Entry], results: Sequence[Result]) -> None:
        """Let every entry get its result. Never raises: the results are committed."""
        if not entries:
            return
        task = asyncio.create_task(self._answer(entries, results), name=f"answers {self.name}")
        self._answering.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._answering.discard(task)
            if task.cancelled():  # perhaps before it began
                for entry, result in zip(entries, results, strict=True):
                    _succeed(entry, result)

        task.add_done_callback(end)

    async def _answer(self, entries: list[Entry], results: Sequence[Result]) -> None:
        """Give every entry its result, `batch_answers` at a time, while the next batch runs.

        Between these, the loop reads from the database. Otherwise its reply to the next batch
        would wait until every caller of this batch has answered its client.
        """
        at_once = self._settings.batch_answers
        for number, (entry, result) in enumerate(zip(entries, results, strict=True), start=1):
            _succeed(entry, result)
            if number % at_once == 0:
                await asyncio.sleep(0)

    def _tell(self, note: Callable[..., None], *arguments: object) -> None:
        """Tell `note` what has happened. Its failure is logged once, and changes nothing.

        It may come after a COMMIT, and nothing after that may lead back into the batch.
        """
        try:
            note(*arguments)
        except Exception as error:
            if not self._has_failed_to_tell:
                self._has_failed_to_tell = True
                log(logger.warning, "observer_failed", lane=self.name, error=repr(error))

    def _refuse_late(self, entries: list[Entry]) -> list[Entry]:
        earliest = asyncio.get_running_loop().time() - self._settings.batch_wait_s
        if entries[0].arrived >= earliest:  # entries are in arrival order: none is late
            return entries
        for entry in entries:
            if entry.arrived < earliest:
                self._tell(self.observer.refused, "too_late")
                fail(entry, self._too_late())
        return [entry for entry in entries if entry.arrived >= earliest]


class WriteLane(Lane[Item, Result]):
    """A lane whose batches are transactions: a command with a key can take effect once.

    `execute` must have the outcome of running the commands one at a time in arrival order, and
    must return rejections, not raise them. After a deadlock, a serialization failure, an
    exclusion violation or another Conflict, the whole batch runs again. Each commit sets `wakes`.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        execute: Execute[Item, Result],
        settings: BatchSettings,
        wakes: Wake | None = None,
    ) -> None:
        super().__init__(name, self._run_batch, settings)
        self._database = database
        self._execute = execute
        if wakes is not None:
            self.committed = wakes

    def submit_once(
        self, command: Once[Item, Result]
    ) -> Coroutine[Any, Any, KeptAnswer | IdempotencyKeyReused]:
        """Put a command with a key into the next batch and return its answer.

        Raises as `submit` does.
        """
        queue: Lane[Any, Any] = self
        return queue.submit(command)

    async def _run_batch(self, commands: list[Any]) -> Sequence[Any]:
        return await self._commit(self._execute, commands)

    async def _commit(
        self,
        execute: Execute[Any, Any],
        commands: list[Any],
        first: Aside | None = None,
        patience_s: float | None = None,
    ) -> Sequence[Any]:
        """Execute `commands` in one transaction, which waits for the row `first` before all."""
        keep = timedelta(seconds=self._settings.idempotency_keep_s)
        attempt = 1
        while True:
            try:
                async with self._database.transaction(patience_s=patience_s) as connection:
                    if first is not None:
                        await first.kind.wait(connection, [first.id])
                    results = await execute_once(connection, commands, execute, keep)
                break
            except Exception as error:
                if not is_retryable(error):
                    raise
                if attempt == self._settings.batch_attempts:
                    raise DatabaseBusy from error
                self._tell(self.observer.retried)
                fields = {"lane": self.name, "attempt": attempt, "error": repr(error)}
                log(logger.info, "batch_retry", **fields)
            attempt += 1
            # A random pause keeps two conflicting batches from colliding again.
            await asyncio.sleep(random.uniform(0, self._settings.batch_retry_s))  # noqa: S311
        self._tell(self.committed.set)
        return results


def group_read(
    name: str,
    database: Database,
    fetch: Fetch[Key, Result],
    settings: BatchSettings,
) -> Lane[Key, Result | None]:
    """Return a lane whose batches are one read. The result for a key not found is None.

    The statement starts after every key of the batch has arrived, so a caller sees all that was
    acknowledged before it asked.
    """

    async def read(keys: list[Key]) -> Sequence[Result | None]:
        async with database.connection() as connection:
            found = await fetch(connection, list(dict.fromkeys(keys)))
        return [found.get(key) for key in keys]

    # A read is one statement, so answering all callers in a row delays no other.
    return Lane(name, read, replace(settings, batch_answers=settings.batch_items))


class Feature:
    """What a service offers on one database: lanes, and reads that are not batched.

    Routes and background tasks call it; they do not know each other.
    """

    def __init__(self, database: Database, batches: BatchSettings) -> None:
        self.database = database
        self.lanes: list[Lane[Any, Any]] = []  # all of this feature, in the order they were made
        self.committed = Wake()  # set by each commit of any lane
        self._batches = batches

    def _commits(
        self,
        name: str,
        execute: Execute[Item, Result],
        *,
        wakes: Wake | None = None,
        most_items: int | None = None,
    ) -> WriteLane[Item, Result]:
        """Make a `WriteLane` of the feature.

        `most_items` is the size limit of its batches, instead of the one that all lanes share.
        """
        batches = replace(self._batches, batch_items=most_items or self._batches.batch_items)
        return self._add(WriteLane(name, self.database, execute, batches, wakes))

    def _reads(self, name: str, fetch: Fetch[Key, Result]) -> Lane[Key, Result | None]:
        """Make a lane of the feature with `group_read`."""
        return self._add(group_read(name, self.database, fetch, self._batches))

    def _add(self, lane: AnyLane) -> AnyLane:
        self.lanes.append(lane)
        lane.committed.leads_to(self.committed)
        return lane


def _succeed(entry: Entry, result: object) -> None:
    if not entry.future.done():  # done: its caller was cancelled
        entry.future.set_result(result)


def fail(entry: Entry, error: Exception) -> None:
    """Give the caller an error, unless it has an answer or is gone."""
    if not entry.future.done():
        # A copy each: raising one exception in many tasks would chain their tracebacks.
        copied = type(error)() if isinstance(error, Unavailable) else error
        entry.future.set_exception(copied)


def log(write: Callable[..., None], event: str, **fields: object) -> None:
    """Log an event. Never raises: a log that can't be written must not change an outcome."""
    with contextlib.suppress(Exception):
        write(event, **fields)
