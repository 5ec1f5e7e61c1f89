"""Settling pending orders, in batches; any number of processes may do so at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog

from rowlock.engine.faults import is_refused
from rowlock.engine.metrics import Meter, counter, histogram
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy, DocumentPosted, Unavailable
from rowlock.orders import Orders
from rowlock.orders.backlog import Backlog
from rowlock.orders.rules import PendingOrder, Settlement, SettleOrder
from rowlock.orders.search import Search
from rowlock.origin import name_trace

PAGES = 8  # of orders, that a process knows of at most
PROBE_S = 0.5  # between two tries of the rows that were locked

SETTLED = counter("rowlock_orders_settled_total", "Orders settled in the background.", "status")
WAIT = histogram(
    "rowlock_orders_settlement_wait_seconds",
    "From an order's creation to its settlement in the background.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)

logger = structlog.get_logger(__name__)


class Processor:
    """Settles orders as they come, and beside that those that had to be skipped."""

    def __init__(self, orders: Orders, meter: Meter, *, log_settlements: bool) -> None:
        self.task = Task("order_processor", self.run)
        self._orders = orders
        self._settings = orders.settings
        self._meter = meter
        self._wait = WAIT.labels(meter.service)
        self._log_settlements = log_settlements

    async def run(self) -> None:
        """Settle orders until one of the two parts fails."""
        settings = self._settings
        backlog = Backlog(PAGES * settings.processor_page_orders)
        search = Search(self._orders.pending, self._orders.created, backlog, settings)
        parts = [
            asyncio.create_task(self._settle_all(search, backlog)),
            asyncio.create_task(self._settle_aside(backlog)),
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

    async def _settle_all(self, search: Search, backlog: Backlog) -> None:
        """Settle all orders of free users, as soon as they are created, here or elsewhere."""
        while True:
            await search.wait()
            await self._settle_batch(search, backlog)

    async def _settle_batch(self, search: Search, backlog: Backlog) -> None:
        """Settle those whose turn it is, and look for others meanwhile.

        Until the look is over, it may find the orders of the batch: so these are known until then.
        """
        order_ids = backlog.take(self._settings.processor_batch_orders)
        looked, *outcomes = await asyncio.gather(
            search.look(),
            *map(self._settle, order_ids),
            return_exceptions=True,  # the others' settlements are to be noted
        )
        self._note(outcomes)
        skipped: dict[int | None, list[int]] = {}
        for outcome in (looked, *outcomes):
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(outcome, PendingOrder):  # it was that user's row that was locked
                skipped.setdefault(outcome.user_id, []).append(outcome.id)
            elif outcome is not None:
                backlog.put_in_line(outcome.order.user_id)
        for user_id, skipped_ids in skipped.items():
            backlog.put_aside(user_id, skipped_ids)
        backlog.finish({*order_ids}.difference(*skipped.values()))

    async def _settle(self, order_id: int) -> Settlement | PendingOrder | None:
        """Settle one order, if that is possible now; its neighbours settle in the same batch."""
        try:
            return await self._orders.settle.submit(_command(order_id))
        except Exception as error:
            return await self._postpone(order_id, error)

    async def _settle_aside(self, backlog: Backlog) -> None:
        """Settle the orders of users whose rows were locked, user by user.

        SKIP LOCKED may never find a row free that is in constant use. So the lock is waited for
        here, up to lock_timeout, in the queue of those that use it. No other lock is held
        meanwhile. Now and then a batch tries all these rows: one that is free again need not wait
        for those that are not.
        """
        loop = asyncio.get_running_loop()
        next_probe = 0.0
        while True:
            user_id, order_ids = await backlog.next_aside(self._settings.processor_batch_orders)
            assert user_id is not None  # who has no row that could be locked
            if await self._settle_in_turn(user_id, order_ids):
                backlog.finish(order_ids)
            else:
                backlog.put_aside(user_id, order_ids)
            if loop.time() >= next_probe:
                next_probe = loop.time() + PROBE_S
                backlog.probe_aside()
            self._orders.created.hear()  # there may be room, or probes

    async def _settle_in_turn(self, user_id: int, order_ids: Sequence[int]) -> bool:
        """Settle orders of one user in one transaction, or if that fails, each in its own.

        Return False if that user's row is still locked.
        """
        try:
            outcomes = await self._orders.settle_in_turn(
                user_id, [_command(order_id) for order_id in order_ids]
            )
        except DatabaseBusy:
            return False
        except Exception as error:
            if len(order_ids) == 1:
                outcomes = [await self._postpone(order_ids[0], error)]
            else:
                outcomes = []
                for order_id in order_ids:
                    await self._settle_in_turn(user_id, [order_id])
        self._note(outcomes)
        return True

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
            logger.info("order_postponed", order_id=order_id, **_name_request(outcome))
            return None
        return outcome

    def _note(self, outcomes: Sequence[object]) -> None:
        settlements = [outcome for outcome in outcomes if isinstance(outcome, Settlement)]
        for status, count in Counter(settlement.status for settlement in settlements).items():
            self._meter.count(SETTLED, count, status)
        for settlement in settlements:
            assert settlement.settled_at is not None  # it is written
            wait = settlement.settled_at - settlement.order.created_at
            self._wait.observe(max(0.0, wait.total_seconds()))  # a clock may have been set back
        if self._log_settlements:  # the second log line of the request that created the order
            for order, status, *_ in settlements:
                logger.info(
                    "order_settled",
                    order_id=order.id,
                    status=status,
                    **_name_request(order),
                )


def _name_request(order: PendingOrder) -> dict[str, Any]:
    """Return the fields by which a log line names the request that created the order."""
    return {"request_id": order.origin.request_id, **name_trace(order.origin.traceparent)}


def _command(order_id: int) -> SettleOrder:
    return SettleOrder(order_id, random.random())  # noqa: S311
