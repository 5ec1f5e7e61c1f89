"""Where pending orders are, as far as this process knows.

While a transaction holds back vacuum, the index of pending orders keeps an entry for each order
settled since, and a read from its start reads them all. So a process remembers up to which
id nothing is left but what it knows, and reads what lies above it in pieces.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple, TypeVar
from uuid import UUID

from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseBusy
from rowlock.orders.backlog import NO_END, Page

Found = TypeVar("Found")

MOST_LEFT = 10_000  # pending orders that are known one by one
LEAST_IDS = 10_000  # in a piece
PIECE_S = 0.05  # what reading a piece should take at most
# A transaction that runs for longer holds nothing up any more. Should it add an order after all,
# that is found when everything is read again.
PATIENCE_S = 600.0
AGAIN_S = 3600.0


class _Mark(NamedTuple):
    """A promise: once the transactions before `xid` are over, no order comes up to `last_id`."""

    last_id: int
    xid: int
    at: float  # by the monotonic clock


class Pending:
    """The pending orders of a database.

    Every pending order has an id above `floor`, or is one of `left`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._width = LEAST_IDS  # how many ids a piece has
        self._epoch: UUID | None = None  # of the cluster, as `advance` has read it
        self.forget()

    def forget(self) -> None:
        """Begin again: this may be another database, whose ids begin further down."""
        self.floor = 0
        self.left: set[int] = set()
        self._began = time.monotonic()
        self.last_id = 0  # the highest one, when the floor was moved last
        self._decided = 0  # no order comes any more at or below this id
        self._marks: deque[_Mark] = deque()

    async def advance(self) -> None:
        """Move the floor up to where orders may still come, a piece at a time."""
        now = time.monotonic()
        async with self._database.connection() as connection:
            [row] = await queries.orders.find_frontier(connection)
        is_moved = row["last_id"] < self.last_id or row["epoch"] != self._epoch
        if now - self._began > AGAIN_S or is_moved:
            self.forget()
        self._epoch = row["epoch"]
        # The transactions that drew the ids seen last time have their own ids by now.
        self._marks.append(_Mark(self.last_id, row["next_xid"], now))
        self.last_id = row["last_id"]
        while self._marks and (
            self._marks[0].xid <= row["oldest_xid"] or now - self._marks[0].at > PATIENCE_S
        ):
            self._decided = self._marks.popleft().last_id
        while self.floor < self._decided and len(self.left) < MOST_LEFT:
            room = MOST_LEFT - len(self.left)

            async def find(after: int, last: int, room: int = room) -> list[int]:
                async with self._database.connection() as connection:
                    rows = await queries.orders.find_left(
                        connection, after=after, last=last, page_size=room
                    )
                return [row["id"] for row in rows]

            found, last = await self._read(self.floor, self._decided, find)
            self.left.update(found)
            self.floor = found[-1] if len(found) == room else last

    async def find_left(self) -> Page:
        """Return those of `left` that are due; forget those that are settled."""
        due: dict[int | None, list[int]] = {}
        if self.left:
            async with self._database.connection() as connection:
                rows = await queries.orders.find_still_pending(
                    connection, order_ids=sorted(self.left)
                )
            self.left = {order_id for row in rows for order_id in row["order_ids"]}
            due = {row["user_id"]: row["order_ids"] for row in rows if row["due"]}
        return Page(0, self.floor, due)

    async def find_due(
        self, after: int, page_size: int, left_out: Collection[int | None] = ()
    ) -> Page:
        """Return due orders with ids above `after`, but for those of the users `left_out`.

        At most `page_size`, the lowest ones, and only those of one piece.
        """
        without = [user_id or 0 for user_id in left_out]

        async def find(after: int, last: int) -> Mapping[int | None, list[int]]:
            async with self._database.connection() as connection:
                rows = await queries.orders.find_pending(
                    connection, after=after, last=last, left_out=without, page_size=page_size
                )
            return {row["user_id"]: row["order_ids"] for row in rows}

        found, last = await self._read(after, self.last_id, find)
        if sum(map(len, found.values())) == page_size:
            last = max(order_ids[-1] for order_ids in found.values())
        return Page(after, last, found, left_out)

    async def _read(
        self, after: int, end: int, find: Callable[[int, int], Awaitable[Found]]
    ) -> tuple[Found, int]:
        """Return what `find` finds in the next piece, and the last id of the piece.

        Beyond `end` there are few ids: they are one piece, which has no end.
        """
        while True:
            last = min(after + self._width, end) if after < end else NO_END
            started = time.monotonic()
            try:
                found = await find(after, last)
            except DatabaseBusy:
                if self._width == LEAST_IDS:
                    raise
                self._width = max(LEAST_IDS, self._width // 16)
                continue
            if last != NO_END:
                fast = time.monotonic() - started < PIECE_S
                self._width = self._width * 2 if fast else max(LEAST_IDS, self._width // 2)
                self._width = min(self._width, NO_END // 4)
            return found, last
