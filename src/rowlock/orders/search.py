"""Which pending orders to look for, and when: what fills a backlog."""

import asyncio
from collections.abc import Collection

from rowlock.engine.wakes import Wake
from rowlock.orders.backlog import NO_END, Backlog, UserId
from rowlock.orders.pending import Pending
from rowlock.settings.features import OrderSettings

LOOK_S = 0.1  # reading goes on for so long, at most, before the next batch is settled
PACE_S = 0.1  # least time between two looks for new orders, while others wait to be settled
REST = 10  # a pass is followed by a pause of ten times what it took to read
THOROUGH = 8  # one pass of eight reads what users have beyond what is known of them, too


class Search:
    """Finds pending orders for a backlog, in the pauses between two batches.

    A creation starts a sweep of the new orders. It begins where the ids ended at the last pass but
    one, so creations that commit out of order are in reach, while the index entries of orders
    settled long since, which stay while an old transaction holds up vacuum, are not read again.
    A pass, at each poll, goes through all orders that may be pending. While there is a backlog, it
    goes on with each batch, and new orders go before it. It leaves out users who have more orders
    than the backlog has room for: these are read when there is.
    """

    def __init__(
        self, pending: Pending, created: Wake, backlog: Backlog, settings: OrderSettings
    ) -> None:
        self._pending = pending
        self._created = created
        self._backlog = backlog
        self._settings = settings
        self._is_woken = False
        self._reached: int | None = None  # the highest id when the last pass began
        self._swept_from = 0  # where a sweep begins
        self._highest = 0  # the highest id found
        self._seen = 0  # that of the last sweep
        self._next_sweep = 0.0  # by the loop's clock, as are all times here
        self._pass_after: int | None = None  # where the pass under way goes on
        self._next_pass = 0.0
        self._pass_s = 0.0  # what reading it has taken
        self._passes = 0
        pending.forget()

    async def wait(self) -> None:
        """Wait until there may be orders to find, or at once if there are some to settle."""
        if await self._created.wait(self._pause_s()):
            self._is_woken = True

    def _pause_s(self) -> float:
        backlog = self._backlog
        if not backlog.is_idle:
            return 0.0
        if backlog.is_full:  # of users whose rows are locked
            return self._settings.processor_poll_s
        if self._is_woken or self._pass_after is not None or backlog.reads_on_from() is not None:
            return 0.0
        return max(0.0, self._next_pass - _now())

    async def look(self) -> None:
        """Read what it is time to read, as far as there is room for it."""
        paced = self._backlog.is_idle or _now() >= self._next_sweep
        if self._is_woken and paced and self._reached is not None:
            await self._sweep()
        if self._pass_after is None and _now() >= self._next_pass:
            await self._begin_pass()
        await self._go_on()
        after = self._backlog.reads_on_from()
        if after is not None:
            await self._read(after)

    async def _sweep(self) -> None:
        """Read the new orders. If they are too many for that, let a pass find them."""
        ends = _now() + LOOK_S
        after, pages = self._swept_from, 0
        while after != NO_END:
            if self._backlog.is_full:
                return
            if _now() >= ends:
                self._pass_after, self._next_pass, self._reached = None, 0.0, None
                break
            after = await self._read(after, self._backlog.users_beyond)
            pages += 1
        if pages > 1:  # the next one is to be shorter
            self._swept_from = self._seen
        self._seen = self._highest
        self._is_woken = False
        self._next_sweep = _now() + PACE_S

    async def _begin_pass(self) -> None:
        began = _now()
        await self._pending.advance()
        last_id = self._pending.last_id
        self._swept_from = last_id if self._reached is None else self._reached
        self._reached = self._seen = last_id
        self._backlog.add(await self._pending.find_left())
        self._pass_after = self._pending.floor
        self._pass_s = _now() - began
        self._passes += 1

    @property
    def _is_thorough(self) -> bool:
        return self._passes % THOROUGH == 0

    async def _go_on(self) -> None:
        began = _now()
        while self._pass_after is not None and not self._backlog.is_full:
            beyond = self._backlog.users_beyond
            after = await self._read(self._pass_after, () if self._is_thorough else beyond)
            self._pass_after = after
            passed_s = _now() - began
            if after == NO_END:
                self._pass_after = None
                pause_s = REST * (self._pass_s + passed_s)
                self._next_pass = _now() + max(self._settings.processor_poll_s, pause_s)
            elif passed_s > LOOK_S:
                self._pass_s += passed_s
                break

    async def _read(self, after: int, left_out: Collection[UserId] = ()) -> int:
        page_size = self._settings.processor_page_orders
        page = await self._pending.find_due(after, page_size, left_out)
        self._backlog.add(page)
        highest = max((order_ids[-1] for order_ids in page.orders.values()), default=0)
        self._highest = max(self._highest, highest)
        return page.last


def _now() -> float:
    return asyncio.get_running_loop().time()
