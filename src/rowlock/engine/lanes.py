"""Group commit and group read: concurrent requests share one transaction, or one statement.

There is no timer. While one batch runs, the next one gathers: an idle service runs a batch of one
at once, a busy one runs hundreds together. A single command is a batch of one; there is no other
code path.
"""

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog

from rowlock.engine.database import Connection, Database, is_retryable
from rowlock.engine.once import KeptAnswer, KeyTaken, Once, execute_once
from rowlock.engine.wakes import Wake
from rowlock.errors import (
    DatabaseBusy,
    Draining,
    IdempotencyKeyReused,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from rowlock.settings.groups import BatchSettings

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)

# Locks, decides and writes a batch of commands; returns their results in the same order.
Execute = Callable[[Connection, list[Item]], Awaitable[Sequence[Result]]]
# Gets unique keys; returns what it found, by key.
Fetch = Callable[[Connection, list[Key]], Awaitable[Mapping[Key, Result]]]

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Entry:
    item: Any
    future: asyncio.Future[Any]
    arrived: float  # the loop's clock, seconds


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

    def __init__(
        self,
        name: str,
        run: Callable[[list[Any]], Awaitable[Sequence[Any]]],
        settings: BatchSettings,
    ) -> None:
        self.name = name
        self.observer = Observer()
        self._run = run
        self._settings = settings
        self._waiting: deque[_Entry] = deque()
        self._drain_task: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._closed = False

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
            self.observer.refused("draining")
            raise Draining
        if len(self._waiting) >= self._settings.batch_queue:
            self.observer.refused("queue_full")
            raise Overloaded
        loop = asyncio.get_running_loop()
        entry = _Entry(item, loop.create_future(), loop.time())
        self._waiting.append(entry)
        if self._drain_task is None:
            # A fresh context: a batch serves many requests and must not log one request's id.
            self._drain_task = loop.create_task(
                self._drain(), name=f"lane {self.name}", context=contextvars.Context()
            )
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
            await self._drain_task
        await asyncio.gather(*self._answering)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), self._settings.batch_items)
                await self._settle([self._waiting.popleft() for _ in range(size)])
        finally:
            self._drain_task = None  # the next item starts another

    async def _settle(self, entries: list[_Entry]) -> None:
        """Give every entry its result or its error. Raises only CancelledError."""
        entries = self._refuse_late(entries)
        if not entries:
            return
        try:
            results = await self._run_observed(entries)
        except asyncio.CancelledError:
            for entry in entries:
                _fail(entry, OutcomeUnknown())
            raise
        except Exception as error:
            # Another transaction may hold a lock that only one of the items needs.
            busy = isinstance(error, DatabaseBusy)
            shared = isinstance(error, Unavailable) and not busy
            if shared or len(entries) == 1:
                for entry in entries:
                    _fail(entry, error)
                return
            self.observer.split()
            logger.warning("batch_split", lane=self.name, items=len(entries), error=repr(error))
            # Halving finds the faulty item in few transactions. After a lock timeout, run items
            # one by one: each half would wait for the lock again.
            size = 1 if busy else (len(entries) + 1) // 2
            for start in range(0, len(entries), size):
                await self._settle(entries[start : start + size])
            return
        task = asyncio.create_task(self._answer(entries, results), name=f"answers {self.name}")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _run_observed(self, entries: list[_Entry]) -> Sequence[Result]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            return await self._run([entry.item for entry in entries])
        finally:
            wait_s = started - entries[0].arrived
            self.observer.ran(len(entries), wait_s, loop.time() - started)

    async def _answer(self, entries: list[_Entry], results: Sequence[Result]) -> None:
        """Give every entry its result, `batch_answers` at a time, while the next batch runs.

        Between these, the loop reads from the database. Otherwise its reply to the next batch
        would wait until every caller of this batch has answered its client.
        """
        at_once = self._settings.batch_answers
        for number, (entry, result) in enumerate(zip(entries, results, strict=True), start=1):
            if not entry.future.done():  # done: its caller was cancelled
                entry.future.set_result(result)
            if number % at_once == 0:
                await asyncio.sleep(0)

    def _refuse_late(self, entries: list[_Entry]) -> list[_Entry]:
        earliest = asyncio.get_running_loop().time() - self._settings.batch_wait_s
        if entries[0].arrived >= earliest:  # entries are in arrival order: none is late
            return entries
        for entry in entries:
            if entry.arrived < earliest:
                self.observer.refused("too_late")
                _fail(entry, Overloaded())
        return [entry for entry in entries if entry.arrived >= earliest]


class WriteLane(Lane[Item, Result]):
    """A lane whose batches are transactions: a command with a key can take effect once."""

    async def submit_once(self, command: Once[Item, Result]) -> KeptAnswer | IdempotencyKeyReused:
        """Put a command with a key into the next batch and return its answer.

        Raises as `submit` does.
        """
        queue: Lane[Any, Any] = self
        answer: KeptAnswer | IdempotencyKeyReused = await queue.submit(command)
        return answer


def group_commit(
    name: str,
    database: Database,
    execute: Execute[Item, Result],
    settings: BatchSettings,
    wakes: Wake | None = None,
) -> WriteLane[Item, Result]:
    """Return a lane whose batches are transactions: `execute` locks, decides and writes.

    `execute` must have the outcome of running the commands one at a time in arrival order, and
    must return rejections, not raise them. After a deadlock, a serialization failure or an
    exclusion violation, the whole batch runs again. Each commit sets `wakes`.

    A command may be wrapped in `once.Once`: then its result is a `once.KeptAnswer`, or
    IdempotencyKeyReused.
    """
    keep = timedelta(seconds=settings.idempotency_keep_s)

    async def commit(commands: list[Item]) -> Sequence[Any]:
        attempt = 1
        while True:
            try:
                async with database.transaction() as connection:
                    results = await execute_once(connection, commands, execute, keep)
                if wakes is not None:
                    wakes.set()
                return results
            except Exception as error:
                if not (is_retryable(error) or isinstance(error, KeyTaken)):
                    raise
                if attempt == settings.batch_attempts:
                    raise DatabaseBusy from error
                lane.observer.retried()
                logger.info("batch_retry", lane=name, attempt=attempt, error=repr(error))
            attempt += 1
            # A random pause keeps two conflicting batches from colliding again.
            await asyncio.sleep(random.uniform(0, settings.batch_retry_s))  # noqa: S311

    lane = WriteLane[Item, Result](name, commit, settings)
    return lane


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
        self._batches = batches

    def _commits(
        self,
        name: str,
        execute: Execute[Item, Result],
        *,
        wakes: Wake | None = None,
        most_items: int | None = None,
    ) -> WriteLane[Item, Result]:
        """Make a lane of the feature with `group_commit`.

        `most_items` is the size limit of its batches, instead of the one that all lanes share.
        """
        batches = replace(self._batches, batch_items=most_items or self._batches.batch_items)
        lane = group_commit(name, self.database, execute, batches, wakes)
        self.lanes.append(lane)
        return lane

    def _reads(self, name: str, fetch: Fetch[Key, Result]) -> Lane[Key, Result | None]:
        """Make a lane of the feature with `group_read`."""
        lane = group_read(name, self.database, fetch, self._batches)
        self.lanes.append(lane)
        return lane


def _fail(entry: _Entry, error: Exception) -> None:
    if not entry.future.done():
        # A copy each: raising one exception in many tasks would chain their tracebacks.
        copied = type(error)() if isinstance(error, Unavailable) else error
        entry.future.set_exception(copied)
