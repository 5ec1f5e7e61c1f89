"""Where pending orders are, as far as this process knows.

While a transaction holds back vacuum, the index of pending orders keeps an entry for each order
settled since, and a read from its start reads them all. So a process remembers up to which
id nothing is left but what it knows, and reads what lies above it in pieces.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.errors import DatabaseBusy

Found = TypeVar("Found")

NO_END = 2**63 - 1  # of a range of ids
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
        self.forget()

    def forget(self) -> None:
        """Begin again: this may be another database, whose ids begin further down."""
        self.floor = 0
        self.left: set[int] = set()
        self._began = time.monotonic()
        self._last_id = 0  # the highest id, when the floor was moved last
        self._decided = 0  # no order comes any more at or below this id
        self._marks: deque[_Mark] = deque()

    async def advance(self) -> None:
        """Move the floor up to where orders may still come, a piece at a time."""
        now = time.monotonic()
        async with self._database.connection() as connection:
            [row] = await queries.orders.find_frontier(connection)
        if now - self._began > AGAIN_S or row["last_id"] < self._last_id:
            self.forget()
        # The transactions that drew the ids seen last time have their own ids by now.
        self._marks.append(_Mark(self._last_id, row["next_xid"], now))
        self._last_id = row["last_id"]
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

    async def find_left(self) -> list[int]:
        """Return those of `left` that are due, sorted by user; forget those that are settled."""
        if not self.left:
            return []
        async with self._database.connection() as connection:
            rows = await queries.orders.find_still_pending(connection, order_ids=sorted(self.left))
        self.left = {row["id"] for row in rows}
        return [row["id"] for row in rows if row["due"]]

    async def find_due(self, after: int, page_size: int) -> tuple[list[int], int | None]:
        """Return due orders with ids above `after`, sorted by user, and where to go on.

        At most `page_size`, the lowest ones, and only those of one piece. It goes on after an id;
        None: there is no more.
        """

        async def find(after: int, last: int) -> list[int]:
            async with self._database.connection() as connection:
                rows = await queries.orders.find_pending(
                    connection, after=after, last=last, page_size=page_size
                )
            return [row["id"] for row in rows]

        found, last = await self._read(after, self._last_id, find)
        if len(found) == page_size:
            return found, max(found)
        return found, None if last == NO_END else last

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
