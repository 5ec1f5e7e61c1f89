"""Settling pending orders, in batches; any number of processes may do so at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import structlog

from rowlock.engine.faults import is_refused
from rowlock.engine.metrics import Meter, counter
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy, DocumentPosted, Unavailable
from rowlock.orders import Orders
from rowlock.orders.rules import PendingOrder, Settlement, SettleOrder

SETTLED = counter("rowlock_orders_settled_total", "Orders settled in the background.", "status")

logger = structlog.get_logger(__name__)


class _Skipped:
    """Orders whose users were locked by other transactions: a queue of users, with their orders."""

    def __init__(self) -> None:
        self._orders: dict[int, set[int]] = {}
        self._filled = asyncio.Event()

    def add(self, order: PendingOrder) -> None:
        assert order.user_id is not None  # it was that user's row that was locked
        self._orders.setdefault(order.user_id, set()).add(order.id)
        self._filled.set()

    async def pop(self) -> tuple[int, list[int]]:
        """Wait for a user; return the first one and the ids of the orders."""
        await self._filled.wait()
        user_id = next(iter(self._orders))
        order_ids = self._orders.pop(user_id)
        if not self._orders:
            self._filled.clear()
        return user_id, sorted(order_ids)


class Processor:
    """Settles orders as they come, and beside that those that had to be skipped."""

    def __init__(self, orders: Orders, meter: Meter, *, log_settlements: bool) -> None:
        self.task = Task("order_processor", self.run)
        self._orders = orders
        self._settings = orders.settings
        self._meter = meter
        self._log_settlements = log_settlements

    async def run(self) -> None:
        """Settle orders until one of the two parts fails."""
        skipped = _Skipped()
        parts = [
            asyncio.create_task(self._settle_all(skipped)),
            asyncio.create_task(self._settle_skipped(skipped)),
        ]
        try:
            # Not gather: cancelled itself, it would cancel the parts before `finally` does, and a
            # second cancellation could interrupt a part's own cleaning up.
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _settle_all(self, skipped: _Skipped) -> None:
        """Settle all orders of free users, as soon as they are created, here or elsewhere.

        A sweep goes up the pending orders by id. A creation starts one where the orders ended one
        poll ago. So creations that commit out of order are in reach, and the index entries of
        orders settled long since, which stay while an old transaction holds up vacuum, are not
        read again. Each poll starts one from the floor of what may be pending, and looks at those
        left below it, which were postponed or skipped.
        """
        poll_s = self._settings.processor_poll_s
        loop = asyncio.get_running_loop()
        reached = previous = 0
        polled = loop.time()
        self._orders.pending.forget()
        await self._poll(skipped)
        while True:
            await self._orders.created.wait(poll_s)
            if loop.time() - polled >= poll_s:
                polled, previous = loop.time(), reached
                reached = max(reached, await self._poll(skipped))
            else:
                reached = max(reached, await self._sweep(previous, skipped))

    async def _poll(self, skipped: _Skipped) -> int:
        """Settle all due orders; return the highest id seen."""
        pending = self._orders.pending
        await pending.advance()
        await self._settle_page(await pending.find_left(), skipped)
        return await self._sweep(pending.floor, skipped)

    async def _sweep(self, after: int, skipped: _Skipped) -> int:
        """Settle all due orders with ids above `after`; return the highest id seen.

        A page is many batches long, so that most orders of one user are settled by one transaction.
        Each transaction leaves a dead version of the user's row, and while an old transaction holds
        up vacuum, each lookup of the user reads them all.
        """
        size = self._settings.processor_page_orders
        reached: int | None = after
        while reached is not None:
            after = reached
            order_ids, reached = await self._orders.pending.find_due(after, size)
            await self._settle_page(order_ids, skipped)
            after = max(order_ids, default=after)
        return after

    async def _settle_page(self, order_ids: Sequence[int], skipped: _Skipped) -> None:
        step = self._settings.processor_batch_orders
        for start in range(0, len(order_ids), step):
            outcomes = await asyncio.gather(
                *(self._settle(order_id) for order_id in order_ids[start : start + step]),
                return_exceptions=True,  # the others' settlements are to be noted
            )
            self._note(outcomes)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                if isinstance(outcome, PendingOrder):
                    skipped.add(outcome)

    async def _settle(self, order_id: int) -> Settlement | PendingOrder | None:
        """Settle one order, if that is possible now; its neighbours settle in the same batch."""
        try:
            return await self._orders.settle.submit(_command(order_id))
        except Exception as error:
            return await self._postpone(order_id, error)

    async def _settle_skipped(self, skipped: _Skipped) -> None:
        """Settle the skipped orders, user by user.

        SKIP LOCKED may never find a row free that is in constant use. So the lock is waited for
        here, up to lock_timeout, in the queue of those that use it. No other lock is held
        meanwhile.
        """
        step = self._settings.processor_batch_orders
        while True:
            user_id, order_ids = await skipped.pop()
            for start in range(0, len(order_ids), step):
                await self._settle_in_turn(user_id, order_ids[start : start + step])

    async def _settle_in_turn(self, user_id: int, order_ids: Sequence[int]) -> None:
        """Settle orders of one user in one transaction, or if that fails, each in its own."""
        try:
            outcomes = await self._orders.settle_in_turn(
                user_id, [_command(order_id) for order_id in order_ids]
            )
        except DatabaseBusy:
            return  # the row is still locked; the next sweep skips the orders again
        except Exception as error:
            if len(order_ids) == 1:
                outcomes = [await self._postpone(order_ids[0], error)]
            else:
                outcomes = []
                for order_id in order_ids:
                    await self._settle_in_turn(user_id, [order_id])
        self._note(outcomes)

    async def _postpone(self, order_id: int, error: Exception) -> Settlement | None:
        """Try the order again later, or refuse it for good if its own values keep it failing.

        A refusal is final. So a fault of the service, which may be repaired at any time, only
        postpones the order, however often. An order that the ledger has already, as it was set
        back, is never refused, as it was paid for. An `Unavailable` ends the sweep: the supervisor
        starts the task again.
        """
        busy = isinstance(error, DatabaseBusy)  # another transaction holds a row
        if isinstance(error, Unavailable) and not busy:
            raise error
        if isinstance(error, DocumentPosted):
            logger.error("order_posted_already", order_id=order_id)
        else:
            logger.warning("order_failed", order_id=order_id, error=repr(error))
        outcome = await self._orders.postpone(
            order_id, counts=not busy, can_refuse=is_refused(error)
        )
        if isinstance(outcome, PendingOrder):
            logger.info("order_postponed", order_id=order_id, request_id=outcome.origin.request_id)
            return None
        return outcome

    def _note(self, outcomes: Sequence[object]) -> None:
        settlements = [outcome for outcome in outcomes if isinstance(outcome, Settlement)]
        for status, count in Counter(settlement.status for settlement in settlements).items():
            self._meter.count(SETTLED, count, status)
        if self._log_settlements:  # the second log line of the request that created the order
            for order, status, *_ in settlements:
                logger.info(
                    "order_settled",
                    order_id=order.id,
                    status=status,
                    request_id=order.origin.request_id,
                )


def _command(order_id: int) -> SettleOrder:
    return SettleOrder(order_id, random.random())  # noqa: S311
