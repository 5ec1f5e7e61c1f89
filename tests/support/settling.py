"""Orders that are created and settled, by processes of one service, and what became of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from rowlock.engine.database import Database
from rowlock.engine.metrics import Meter
from rowlock.engine.tasks import Supervisor
from rowlock.engine.wakes import Wakes
from rowlock.orders import CHANNEL, Orders
from rowlock.orders.processor import Processor
from rowlock.orders.rules import CreateOrder, Item, Order
from rowlock.origin import Origin
from rowlock.settings import Settings
from tests.support.polling import until
from tests.support.roles import confined
from tests.support.types import Connection

NETFLIX = 1
PRICE = 7599
NEVER = 3600.0  # seconds between polls: whatever happens, no poll was needed
APPROVED = ("approved", None)
UNPAYABLE = ("refused", "insufficient_balance")
FAILED = ("refused", "processing_failed")


@dataclass(frozen=True)
class Process:
    """What creates orders, and settles them if it has a processor."""

    orders: Orders
    tasks: Supervisor

    async def order(
        self, user_id: int | None = None, quantity: int = 1, request_id: str | None = None
    ) -> int:
        """Order some netflix; return the order's id."""
        command = CreateOrder(user_id, (Item(NETFLIX, quantity),), Origin(request_id, "token"))
        created = await self.orders.create.submit(command)
        assert isinstance(created, Order)
        return created.id


Start: TypeAlias = Callable[..., Awaitable[Process]]


@asynccontextmanager
async def started(
    database_url: str, settings: Settings, *, processor: bool
) -> AsyncIterator[Process]:
    """Lend a process, with or without a processor, that has the commerce service's rights."""
    async with Database(confined(database_url, "commerce"), settings.database) as database:
        wakes = Wakes(database, settings.tasks.processor_notify_s)
        orders = Orders(database, settings.batches, settings.orders, wakes.on(CHANNEL))
        meter = Meter("commerce")
        settling = Processor(orders, meter, log_settlements=settings.logs.log_requests)
        tasks = Supervisor(
            [wakes.task, *([settling.task] if processor else [])],
            settings.tasks,
            meter,
            database.outage,
        )
        tasks.start()
        yield Process(orders, tasks)
        await tasks.stop()
        for lane in orders.lanes:
            await lane.close()


async def settled(connection: Connection, *order_ids: int) -> list[tuple[str, str | None]]:
    """Wait until the orders are settled; return their statuses and reasons."""
    pending = "SELECT count(*) FROM orders WHERE status = 'pending' AND id = any($1)"

    async def none_pending() -> bool:
        return not await connection.fetchval(pending, order_ids)

    await until(none_pending)
    rows = await connection.fetch("SELECT * FROM orders WHERE id = any($1) ORDER BY id", order_ids)
    return [(row["status"], row["reason"]) for row in rows]


async def ledger(connection: Connection, user_id: int) -> list[dict[str, Any]]:
    """The user's entries after the opening balance."""
    rows = await connection.fetch(
        "SELECT amount, balance_after, reason, reference FROM ledger_entries "
        "WHERE user_id = $1 AND reason <> 'opening_balance' ORDER BY id",
        user_id,
    )
    return [dict(row) for row in rows]
