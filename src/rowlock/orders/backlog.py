"""The orders that a process is about to settle: a queue for each user, served in turns.

So one user's orders, however many, delay another user's by a batch or two. A user who had none
waiting, and has only a few now, comes first. The others follow, with long turns: most orders of one
user should be settled by one transaction. Orders without a user are the queue of None.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

FEW = 8  # orders with which a user comes before those who have more
TURN = 64  # orders of one of those in each turn
REST_SHARE = 4  # a quarter of a batch is theirs in any case

UserId: TypeAlias = int | None
Line: TypeAlias = "OrderedDict[UserId, None]"


class Page(NamedTuple):
    """All due orders with ids above `after`, up to `last`, as one statement saw them.

    But for those of the users `left_out`.
    """

    after: int
    last: int  # NO_END: there are no more
    orders: Mapping[UserId, Sequence[int]]  # ids in order
    left_out: Collection[UserId] = ()


NO_END = 2**63 - 1  # of a range of ids


class Backlog:
    """Due orders: at most `most` of them, and a page.

    A user may have as many here as there is room left: one alone half of it, two a third each. So
    there is always room for another. What is beyond that stays in the database; `reads_on_from`
    says when and where to read on.

    A user with orders here is in one of three lines: the new ones, the rest, or those aside, whose
    rows other transactions had locked.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: dict[UserId, deque[int]] = {}  # none is empty
        self._held = 0  # orders in the queues
        self._known: set[int] = set()  # those, and the ones that are being settled
        self._beyond: dict[UserId, int] = {}  # the users with more, and above which id that is
        self._new: Line = OrderedDict()
        self._rest: Line = OrderedDict()
        self._aside: Line = OrderedDict()
        self._probes: deque[UserId] = deque()  # users aside whose rows may be free again
        self._some_aside = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to take."""
        return not (self._new or self._rest or self._probes)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another user."""
        return self._held >= self._most

    @property
    def users_beyond(self) -> Collection[UserId]:
        """The users who have more in the database: `reads_on_from` tells when to read that."""
        return tuple(self._beyond)

    def reads_on_from(self) -> int | None:
        """Return the id after which more orders are to be read now, if any."""
        if self.is_full:
            return None
        if self._held < self._most // 4:
            wanted: Iterable[int] = self._beyond.values()
        else:
            wanted = (after for user, after in self._beyond.items() if user not in self._queues)
        return min(wanted, default=None)

    def add(self, page: Page) -> None:
        """Add those orders of a page that are not known, as far as there is room for each user."""
        refused = {
            user_id
            for user_id, order_ids in page.orders.items()
            # Else those before the page are to be read first.
            if self._beyond.get(user_id, page.after) >= page.after
            and not self._add(user_id, order_ids)
        }
        for user_id, after in list(self._beyond.items()):
            if after >= page.after and user_id not in refused and user_id not in page.left_out:
                if page.last == NO_END:
                    del self._beyond[user_id]
                else:
                    self._beyond[user_id] = max(after, page.last)

    def _add(self, user_id: UserId, order_ids: Iterable[int]) -> bool:
        """Add orders of a user; return whether there was room for all."""
        queue = self._queues.get(user_id)
        for order_id in order_ids:
            if order_id in self._known:
                continue
            if (len(queue) if queue else 0) >= self._most - self._held:
                self._beyond[user_id] = min(self._beyond.get(user_id, order_id), order_id - 1)
                return False
            if queue is None:
                queue = self._queues[user_id] = deque()
                if user_id not in self._aside:
                    self._new[user_id] = None
            queue.append(order_id)
            self._known.add(order_id)
            self._held += 1
        return True

    def take(self, most: int) -> list[int]:
        """Return the ids of up to `most` orders, whose turn it is."""
        taken: list[int] = []
        while self._probes and len(taken) < most:
            user_id = self._probes.popleft()
            if user_id in self._aside:
                taken += self._pop(user_id, 1)
        self._serve_new(most - most // REST_SHARE if self._rest else most, taken)
        while self._rest and len(taken) < most:
            user_id, _ = self._rest.popitem(last=False)
            taken += self._pop(user_id, min(TURN, most - len(taken)))
            if user_id in self._queues:
                self._rest[user_id] = None
        self._serve_new(most, taken)
        return taken

    def _serve_new(self, most: int, taken: list[int]) -> None:
        while self._new and len(taken) < most:
            user_id, _ = self._new.popitem(last=False)
            if len(self._queues[user_id]) <= FEW:
                taken += self._pop(user_id, most - len(taken))
            if user_id in self._queues:
                self._rest[user_id] = None

    def _pop(self, user_id: UserId, most: int) -> list[int]:
        queue = self._queues.get(user_id)
        if queue is None:
            return []
        taken = [queue.popleft() for _ in range(min(most, len(queue)))]
        if not queue:
            del self._queues[user_id]
        self._held -= len(taken)
        return taken

    def finish(self, order_ids: Collection[int]) -> None:
        """Forget orders that were taken: they are settled, postponed, or another process's."""
        self._known.difference_update(order_ids)

    def put_aside(self, user_id: UserId, order_ids: Sequence[int]) -> None:
        """Put orders back that were taken, as their user's row is locked."""
        self._queues.setdefault(user_id, deque()).extendleft(reversed(order_ids))
        self._held += len(order_ids)
        self._new.pop(user_id, None)
        self._rest.pop(user_id, None)
        self._aside.setdefault(user_id)
        self._some_aside.set()

    def put_in_line(self, user_id: UserId) -> None:
        """Note that a user's row is free: the user is no longer aside."""
        if user_id in self._aside:
            del self._aside[user_id]
            if user_id in self._queues:
                self._rest[user_id] = None

    async def next_aside(self, most: int) -> tuple[UserId, list[int]]:
        """Wait for a user aside; return the one whose turn it is, and up to `most` orders."""
        while True:
            await self._some_aside.wait()
            while self._aside:
                user_id, _ = self._aside.popitem(last=False)
                taken = self._pop(user_id, most)
                if taken:
                    self._aside[user_id] = None
                    return user_id, taken
            self._some_aside.clear()

    def probe_aside(self) -> None:
        """Let the next batch try whether the rows of users aside are free: by one order of each."""
        self._probes = deque(self._aside)
