"""Commands left aside: what needs a row that another transaction holds waits apart.

A batch waits for its rows as any transaction does. If one stays locked for batch_patience_s, the
batch runs again without waiting: it commits what it can, and leaves aside the commands whose rows
are locked. From then on batches don't touch these rows. The commands wait for them in lines, one
for each row, in arrival order, until the row is free. So the others go on, and a person who holds
a row at psql delays only the commands that need it.

No command gets a row before an older one that waits for it here: batches avoid rows that have a
line, or commands that have their turn; and a turn avoids rows that older commands wait for.
"""

import heapq
from bisect import insort
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

import structlog

from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Entry, Lane, WriteLane, fail, log
from rowlock.engine.locks import Aside, Locks
from rowlock.errors import DatabaseBusy, Unavailable
from rowlock.settings.groups import BatchSettings

Item = TypeVar("Item")
Result = TypeVar("Result")

# As lanes.Execute, but takes rows by Locks; the outcome of a command may be that it is left aside.
ExecuteLocked = Callable[[Connection, list[Item], Locks], Awaitable[Sequence[Result | Aside]]]
arrival = attrgetter("arrived")

logger = structlog.get_logger(__name__)


class LockingLane(WriteLane[Item, Result]):
    """A lane of transactions that leave commands aside whose rows stay locked by others.

    Such a command takes effect once its row is free. It gets DatabaseBusy if it has waited for the
    row for lock_timeout, or in all for batch_wait_s; at most batch_queue of them wait.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        execute: ExecuteLocked[Item, Result],
        settings: BatchSettings,
    ) -> None:
        self._lines = _Lines(name, partial(self._commit, self._execute_apart), settings)
        self._execute_locked = execute
        super().__init__(name, database, self._execute_waiting, settings)

    @property
    def waiting(self) -> int:
        """How many items wait for the next batch, or for a row."""
        return super().waiting + self._lines.waiting

    async def close(self) -> None:
        """Take no more items; return once every item taken has its result or its error."""
        await super().close()
        await self._lines.close()

    async def _run_batch(self, commands: list[Any]) -> Sequence[Any]:
        patience_s = self._settings.batch_patience_s
        try:
            return await self._commit(self._execute_waiting, commands, patience_s=patience_s)
        except DatabaseBusy:
            self._tell(self.observer.retried)
            return await self._commit(self._execute_free, commands)

    def _hand_out(self, entries: list[Entry], results: Sequence[Any]) -> None:
        if any(isinstance(result, Aside) for result in results):
            self._lines.observer = self.observer
            entries, results = self._lines.leave(entries, results)
        super()._hand_out(entries, results)

    async def _execute_waiting(self, connection: Connection, commands: list[Any]) -> Sequence[Any]:
        locks = Locks(avoided=self._lines.rows.keys())
        return await self._execute_locked(connection, commands, locks)

    async def _execute_free(self, connection: Connection, commands: list[Any]) -> Sequence[Any]:
        locks = Locks(waits=False, avoided=self._lines.rows.keys())
        return await self._execute_locked(connection, commands, locks)

    async def _execute_apart(self, connection: Connection, commands: list[Any]) -> Sequence[Any]:
        locks = Locks(waits=False, avoided=self._lines.awaited)
        return await self._execute_locked(connection, commands, locks)


@dataclass(slots=True)
class _Turn:
    """Commands that are taken out of the lines to be settled."""

    row: Aside | None = None  # that is waited for; None: all that are free by now
    entries: list[Entry] = field(default_factory=list)  # oldest first
    got: set[Aside] = field(default_factory=set)  # rows that some of them waited for, and got


class _Lines(Lane[Any, Any]):
    """Commands that wait for rows, in a line for each row.

    It takes turns. First it commits what is free by now, of all lines. Then it waits for the row of
    one line, and holds no other lock meanwhile.
    """

    _too_late: type[Unavailable] = DatabaseBusy

    def __init__(
        self, name: str, commit: Callable[..., Awaitable[Sequence[Any]]], settings: BatchSettings
    ) -> None:
        super().__init__(f"{name} aside", self._run_turn, settings)
        # A row whose line is empty was still locked when that line had its last turn.
        self.rows: dict[Aside, list[Entry]] = {}
        self._commit = commit
        self._turn = _Turn()

    @property
    def waiting(self) -> int:
        return sum(map(len, self.rows.values())) + len(self._turn.entries)

    @property
    def awaited(self) -> set[Aside]:
        """The rows for which a command waits that is older than some of those of this turn."""
        newest = self._turn.entries[-1].arrived
        return {row for row, line in self.rows.items() if line and line[0].arrived <= newest}

    def leave(
        self, entries: Sequence[Entry], results: Sequence[Any]
    ) -> tuple[list[Entry], list[Any]]:
        """Put those that are left aside into their lines; return the others and their results."""
        others = []
        known = len(self.rows)
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, Aside):
                self._join(entry, result)
            else:
                others.append((entry, result))
        if len(self.rows) > known:
            log(logger.info, "rows_locked", lane=self.name, rows=len(self.rows) - known)
        return [entry for entry, _ in others], [result for _, result in others]

    def _join(self, entry: Entry, row: Aside) -> None:
        is_new = entry.row is None
        if is_new and self.waiting >= self._settings.batch_queue:
            self._tell(self.observer.refused, "queue_full")
            fail(entry, DatabaseBusy())
            return
        if row not in self.rows and len(self.rows) >= self._settings.batch_queue:
            self._forget(set(self.rows).difference(entry.row for entry in self._turn.entries))
        entry.row = row
        insort(self.rows.setdefault(row, []), entry, key=arrival)
        if self._drain_task is None:
            self._start()

    def _forget(self, rows: set[Aside]) -> None:
        """Let batches wait again for those of the rows for which no command waits here."""
        for row in rows:
            if not self.rows.get(row):
                self.rows.pop(row, None)

    async def _drain(self) -> None:
        try:
            while rows := [row for row, line in self.rows.items() if line]:
                await self._take_turn(None, rows)
                row = next((row for row in rows if self.rows.get(row)), None)
                if row is not None:
                    self.rows[row] = self.rows.pop(row)  # it goes to the end
                    await self._take_turn(row, [row])
        finally:
            self._end_drain()

    def _end_drain(self) -> None:
        self._drain_task = None
        self._turn = _Turn()
        for line in self.rows.values():
            while line:  # this was cancelled
                fail(line.pop(), Unavailable())

    async def _take_turn(self, waited: Aside | None, rows: Sequence[Aside]) -> None:
        """Settle the oldest entries of the lines of `rows`, as many as a batch may have."""
        oldest = heapq.merge(*(self.rows[row] for row in rows), key=arrival)
        self._turn = _Turn(waited, [*islice(oldest, self._settings.batch_items)])
        for entry in self._turn.entries:
            assert entry.row is not None  # it has joined a line
            self.rows[entry.row].pop(0)
        await self._settle(self._turn.entries)
        # Not as soon as they are free: the turn may be split, and later parts need them.
        got, self._turn = self._turn.got, _Turn()
        self._forget(got)

    async def _run_turn(self, commands: list[Any]) -> Sequence[Any]:
        return await self._commit(commands, self._turn.row)

    def _hand_out(self, entries: list[Entry], results: Sequence[Any]) -> None:
        entries, results = self.leave(entries, results)
        self._turn.got.update(entry.row for entry in entries if entry.row is not None)
        super()._hand_out(entries, results)

    def _split(self, entries: list[Entry], error: Exception) -> list[list[Entry]]:
        if not isinstance(error, DatabaseBusy):
            return super()._split(entries, error)
        for entry in entries:
            if self._turn.row is None and entry.row is not None:
                self._join(entry, entry.row)
            else:
                fail(entry, error)
        return []
