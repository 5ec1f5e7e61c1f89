"""Settling pending orders, in batches; any number of processes may do so at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import structlog

from rowlock.accounts.transactions import lock_users
from rowlock.engine.database import is_refused
from rowlock.engine.metrics import Meter, counter
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.errors import DatabaseBusy, DatabaseUnavailable, Unavailable
from rowlock.orders import Orders
from rowlock.orders.rules import PendingOrder, Settlement, SettleOrder
from rowlock.orders.transactions import give_up_or_postpone, lock_pending, settle_orders

CHANNEL = "order_created"

SETTLED = counter("rowlock_orders_settled_total", "Orders settled in the background.", "status")

logger = structlog.get_logger(__name__)


class _Line:
    """Users who were skipped, as somebody had locked them, with their orders; first come first."""

    def __init__(self) -> None:
        self._orders: dict[int, set[int]] = {}
        self._joined = asyncio.Event()

    def join(self, order: PendingOrder) -> None:
        assert order.user_id is not None  # it was that user's row that was locked
        self._orders.setdefault(order.user_id, set()).add(order.id)
        self._joined.set()

    async def first(self) -> tuple[int, list[int]]:
        """Return the first user and the ids of the orders, once there is one."""
        await self._joined.wait()
        user_id = next(iter(self._orders))
        order_ids = self._orders.pop(user_id)
        if not self._orders:
            self._joined.clear()
        return user_id, sorted(order_ids)


class Processor:
    """Settles orders as they come; and beside that those which had to be skipped."""

    def __init__(self, orders: Orders, meter: Meter, *, log_settlements: bool) -> None:
        self.task = Task("order_processor", self.run)
        self._orders = orders
        self._database = orders.database
        self._settings = orders.settings
        self._meter = meter
        self._logs = log_settlements

    async def run(self) -> None:
        """Settle orders until one of the two parts fails."""
        line = _Line()
        parts = [
            asyncio.create_task(self._settle_all(line)),
            asyncio.create_task(self._settle_skipped(line)),
        ]
        try:
            # Not gather, which would cancel them, too: the second one could break off the
            # cleaning up.
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _settle_all(self, line: _Line) -> None:
        """Settle all orders of free users; woken at once by a creation, here or in another process.

        A sweep goes up the pending orders by id. When woken, it goes on where orders stood one poll
        ago: creations that commit out of order are in reach, and the index entries of orders
        settled long since, which stay behind while some old transaction holds up vacuum, are not
        read again. Each poll sweeps all, and so finds what was put off.
        """
        wake, settings = self._orders.pending, self._settings
        loop = asyncio.get_running_loop()
        async with self._database.dedicated() as listener:
            await listener.add_listener(CHANNEL, lambda *_: wake.set())
            listener.add_termination_listener(lambda *_: wake.set())
            reached = previous = 0
            polled = loop.time()
            await self._sweep(0, line)
            while True:
                await wake.wait(settings.processor_poll_s)
                if listener.is_closed():
                    raise DatabaseUnavailable
                if loop.time() - polled >= settings.processor_poll_s:
                    polled, previous = loop.time(), reached
                    reached = max(reached, await self._sweep(0, line))
                else:
                    reached = max(reached, await self._sweep(previous, line))

    async def _sweep(self, after: int, line: _Line) -> int:
        """Settle all due orders with ids above `after`; return the highest id seen.

        A page is many batches long, so that most orders of one user are settled by one transaction.
        Each transaction leaves a dead version of the user's row, and while an old transaction holds
        up vacuum, each lookup of the user reads them all.
        """
        settings = self._settings
        size, step = settings.processor_page_orders, settings.processor_batch_orders
        while True:
            async with self._database.connection() as connection:
                rows = await queries.orders.find_pending(connection, after=after, page_size=size)
            order_ids = [row["id"] for row in rows]
            for start in range(0, len(order_ids), step):
                outcomes = await asyncio.gather(
                    *(self._settle(order_id) for order_id in order_ids[start : start + step]),
                    return_exceptions=True,  # what the others have settled is to be noted
                )
                self._note(outcomes)
                for outcome in outcomes:
                    if isinstance(outcome, BaseException):
                        raise outcome
                    if isinstance(outcome, PendingOrder):
                        line.join(outcome)
            after = max(order_ids, default=after)
            if len(order_ids) < size:
                return after

    async def _settle(self, order_id: int) -> Settlement | PendingOrder | None:
        """Settle one order, if that is possible now; its neighbours settle in the same batch."""
        try:
            return await self._orders.settle.submit(_command(order_id))
        except Exception as error:
            return await self._put_off(order_id, error)

    async def _settle_skipped(self, line: _Line) -> None:
        """Settle the orders in the line, user by user.

        SKIP LOCKED may never find a row free that is in constant use. So its lock is waited for
        here, up to lock_timeout, as others wait who use it. No other lock is held meanwhile.
        """
        step = self._settings.processor_batch_orders
        while True:
            user_id, order_ids = await line.first()
            for start in range(0, len(order_ids), step):
                await self._settle_in_turn(user_id, order_ids[start : start + step])

    async def _settle_in_turn(self, user_id: int, order_ids: Sequence[int]) -> None:
        """Settle orders of one user in one transaction, or if that fails, each in its own."""
        try:
            async with self._database.transaction() as connection:
                await lock_users(connection, [user_id])
                commands = [_command(order_id) for order_id in order_ids]
                outcomes = await settle_orders(connection, commands, self._settings.approval_rate)
        except DatabaseBusy:
            return  # somebody holds the row; who is skipped by the next sweep, joins the line again
        except Exception as error:
            if len(order_ids) == 1:
                outcomes = [await self._put_off(order_ids[0], error)]
            else:
                outcomes = []
                for order_id in order_ids:
                    await self._settle_in_turn(user_id, [order_id])
        self._note(outcomes)

    async def _put_off(self, order_id: int, error: Exception) -> Settlement | None:
        """Try the order again later, or if it keeps failing by its own fault, refuse it for good.

        A refusal could not be taken back. So a mistake of ours, which may be mended at any time,
        puts the order off, again and again. An `Unavailable` ends the sweep: the supervisor starts
        the task again.
        """
        busy = isinstance(error, DatabaseBusy)  # somebody holds a row
        if isinstance(error, Unavailable) and not busy:
            raise error
        logger.warning("order_failed", order_id=order_id, error=repr(error))
        settings = self._settings
        async with self._database.transaction() as connection:
            orders = await lock_pending(connection, [order_id])
            if not orders:
                return None  # somebody else has it now
            [order] = orders
            settlement = await give_up_or_postpone(
                connection,
                order,
                failures=0 if busy else 1,
                attempts_limit=settings.processor_attempts if is_refused(error) else None,
                retry_s=settings.processor_retry_s,
                retry_limit_s=settings.processor_retry_limit_s,
            )
        if settlement is None:
            logger.info("order_postponed", order_id=order_id, request_id=order.request_id)
        return settlement

    def _note(self, outcomes: Sequence[object]) -> None:
        settlements = [outcome for outcome in outcomes if isinstance(outcome, Settlement)]
        for status, count in Counter(settlement.status for settlement in settlements).items():
            self._meter.count(SETTLED, count, status)
        if self._logs:  # a request's second line, so to speak
            for order, status, *_ in settlements:
                logger.info(
                    "order_settled", order_id=order.id, status=status, request_id=order.request_id
                )


def _command(order_id: int) -> SettleOrder:
    return SettleOrder(order_id, random.random())  # noqa: S311
