"""Settling pending orders, in batches; any number of processes may do so at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import structlog
from aiohttp import web

from rowlock.exceptions import DatabaseBusy, DatabaseUnavailable, Unavailable
from rowlock.orders.commands import give_up_or_postpone, lock_pending
from rowlock.orders.routes import SETTLE_ORDER
from rowlock.orders.rules import Settlement, SettleOrder
from rowlock.queries import queries
from rowlock.tasks.supervisor import Wake
from rowlock.web.metrics import METRICS, ORDERS_SETTLED
from rowlock.web.service import DATABASE, SETTINGS

CHANNEL = "order_created"

logger = structlog.get_logger("rowlock.tasks.order_processor")


async def run(app: web.Application, wake: Wake) -> None:
    """Settle orders as they come; woken at once by a creation, here or in another process.

    A sweep goes up the pending orders by id. When woken, it goes on where orders stood one poll
    ago: creations that commit out of order are in reach, and the index entries of orders settled
    long since, which stay behind while some old transaction holds up vacuum, are not read again.
    Each poll sweeps all, and so finds what was put off.
    """
    settings = app[SETTINGS]
    loop = asyncio.get_running_loop()
    async with app[DATABASE].dedicated() as listener:
        await listener.add_listener(CHANNEL, lambda *_: wake.set())
        listener.add_termination_listener(lambda *_: wake.set())
        reached = previous = 0
        polled = loop.time()
        await _sweep(app, 0)
        while True:
            await wake.wait(settings.processor_poll_s)
            if listener.is_closed():
                raise DatabaseUnavailable
            if loop.time() - polled >= settings.processor_poll_s:
                polled, previous = loop.time(), reached
                reached = max(reached, await _sweep(app, 0))
            else:
                reached = max(reached, await _sweep(app, previous))


async def _sweep(app: web.Application, after: int) -> int:
    """Settle all due orders with ids above `after`; return the highest id seen.

    A page is many batches long, so that most orders of one user are settled by one transaction.
    Each transaction leaves a dead version of the user's row, and while an old transaction holds up
    vacuum, whoever looks the user up reads them all.
    """
    settings = app[SETTINGS]
    size, step = settings.processor_page_orders, settings.processor_batch_orders
    while True:
        async with app[DATABASE].connection() as connection:
            rows = await queries.orders.find_pending(connection, after=after, page_size=size)
        order_ids = [row["id"] for row in rows]
        for start in range(0, len(order_ids), step):
            batch = order_ids[start : start + step]
            outcomes = await asyncio.gather(*(_settle(app, order_id) for order_id in batch))
            _note(app, [settlement for settlement in outcomes if settlement])
        after = max(order_ids, default=after)
        if len(order_ids) < size:
            return after


async def _settle(app: web.Application, order_id: int) -> Settlement | None:
    """Settle one order, if that is possible now; its neighbours settle in the same batch."""
    try:
        return await app[SETTLE_ORDER].submit(SettleOrder(order_id, random.random()))  # noqa: S311
    except Exception as error:
        busy = isinstance(error, DatabaseBusy)  # somebody holds the user's row
        if isinstance(error, Unavailable) and not busy:
            raise  # not this order's fault: the supervisor starts us again
        logger.warning("order_failed", order_id=order_id, error=repr(error))
        settings = app[SETTINGS]
        async with app[DATABASE].transaction() as connection:
            orders = await lock_pending(connection, [order_id])
            if not orders:
                return None  # somebody else has it now
            [order] = orders
            settlement = await give_up_or_postpone(
                connection,
                order,
                attempts_limit=None if busy else settings.processor_attempts,
                retry_s=settings.processor_retry_s,
                retry_limit_s=settings.processor_retry_limit_s,
            )
        if settlement is None:
            logger.info("order_postponed", order_id=order_id, request_id=order.request_id)
        return settlement


def _note(app: web.Application, settlements: Sequence[Settlement]) -> None:
    for status, count in Counter(settlement.status for settlement in settlements).items():
        app[METRICS].count(ORDERS_SETTLED, count, status)
    if app[SETTINGS].log_requests:  # a request's second line, so to speak
        for order, status, *_ in settlements:
            logger.info(
                "order_settled", order_id=order.id, status=status, request_id=order.request_id
            )
