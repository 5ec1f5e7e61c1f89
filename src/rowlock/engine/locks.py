"""Row locks of a batch: it waits for its rows, or takes those that are free.

A row that another transaction holds for long would hold up all who share a batch with it. So a
batch may leave the commands that need it aside; `engine.aside` says what becomes of them.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from rowlock.engine.database import Connection

Row = TypeVar("Row")

Read = Callable[[Connection, list[int]], Awaitable[Sequence[Row]]]


@dataclass(frozen=True, slots=True, eq=False)
class Lockable(Generic[Row]):
    """The rows of a table, as statements that take unique ids. A lane has one for each table."""

    wait: Read[Row]  # locks the rows, and waits for each
    take_free: Read[Row]  # locks those that no other transaction has locked
    find: Callable[[Connection, list[int]], Awaitable[Collection[int]]]  # those that exist
    id_of: Callable[[Row], int]


class Aside(NamedTuple):
    """The outcome of a command that a batch has left aside, as this row is locked."""

    kind: Lockable[Any]
    id: int


class Locks:
    """How a batch locks its rows, and which it leaves aside."""

    def __init__(self, *, waits: bool = True, avoided: Collection[Aside] = ()) -> None:
        """Wait for each row, or take the free ones; leave those `avoided` aside in any case."""
        self._waits = waits
        self._avoided = avoided
        self._left: set[Aside] = set()

    @property
    def waits_for_all(self) -> bool:
        """Whether no row is to be left aside."""
        return self._waits and not self._avoided

    async def take(
        self,
        connection: Connection,
        kind: Lockable[Row],
        ids: Collection[int],
        *,
        how: Lockable[Row] | None = None,
    ) -> Sequence[Row]:
        """Lock rows in the order of their table; return those that are locked now.

        Of the others, `left` tells which exist. `how` locks rows of the same kind less strongly:
        commands that share a line need not share a lock.
        """
        how = how or kind
        wanted = self._leave_avoided(kind, ids)
        if self._waits:
            rows = await how.wait(connection, list(wanted))
            # Those to be avoided may have become more: an older command has come to one meanwhile.
            wanted = self._leave_avoided(kind, wanted)
            return [row for row in rows if kind.id_of(row) in wanted]
        rows = await how.take_free(connection, list(wanted))
        absent = wanted.difference(map(kind.id_of, rows))
        if absent:
            found = await kind.find(connection, list(absent))
            self._left.update(Aside(kind, id_) for id_ in found)
        return rows

    def _leave_avoided(self, kind: Lockable[Any], ids: Collection[int]) -> set[int]:
        """Leave those of the rows aside that are avoided; return the ids of the others."""
        avoided = {id_ for id_ in ids if Aside(kind, id_) in self._avoided} if self._avoided else ()
        self._left.update(Aside(kind, id_) for id_ in avoided)
        return set(ids).difference(avoided)

    def left(self, kind: Lockable[Any], id_: int) -> Aside | None:
        """Return the row if it was to be taken, but is left aside."""
        if not self._left:
            return None
        row = Aside(kind, id_)
        return row if row in self._left else None
