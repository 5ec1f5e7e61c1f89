"""Cancellations and refunds of orders that another transaction holds."""

import asyncio
from functools import partial
from typing import Any

import pytest

from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.errors import DatabaseBusy
from rowlock.orders.rules import CancelOrder, CreateOrder, Item, Order, Settlement, SettleOrder
from rowlock.orders.transactions import cancel_orders, create_orders, settle_orders
from rowlock.refunds.rules import Refund, RefundOrder
from rowlock.refunds.transactions import refund_orders
from rowlock.rejections import OrderNotPending
from rowlock.settings import Settings
from tests.support.histories import EXECUTORS, START, add_products
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.types import Connection

WAITS = """
    SELECT count(*) = 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""


@pytest.mark.parametrize("first", ["cancel", "settle"])
async def test_cancel__while_the_processor_has_the_order__exactly_one_wins(
    database_url: str, connection: Connection, settings: Settings, first: str
) -> None:
    patient = settings.changed(batch_patience_s=60.0, lock_timeout_s=60.0, statement_timeout_s=60.0)
    async with Database(database_url, patient.database) as database:
        await add_products(database, connection)
        async with connection.transaction():
            [order] = await create_orders(connection, [CreateOrder(None, (Item(1, 1),))])
        assert isinstance(order, Order)
        lane = LockingLane[CancelOrder, Any]("test", database, cancel_orders, patient.batches)
        transaction = connection.transaction()
        await transaction.start()
        if first == "settle":
            [settled] = await settle_orders(connection, [SettleOrder(order.id, 0.0)], 1.0)
            assert isinstance(settled, Settlement)
            cancelling = asyncio.create_task(lane.submit(CancelOrder(order.id)))
            async with database.reader() as observer:  # a transaction sees one state of others
                await until(partial(observer.fetchval, WAITS))
            await transaction.commit()
            refused = await cancelling
            assert isinstance(refused, OrderNotPending)
            assert refused.details == {"order_id": order.id, "status": "approved"}
        else:
            [cancelled] = await cancel_orders(connection, [CancelOrder(order.id)])
            assert isinstance(cancelled, Order)
            async with database.transaction() as processor:
                found = await settle_orders(processor, [SettleOrder(order.id, 0.0)], 1.0)
            assert found == [None]  # it does not wait
            await transaction.commit()
            async with database.transaction() as processor:
                found = await settle_orders(processor, [SettleOrder(order.id, 0.0)], 1.0)
            assert found == [None]
        await lane.close()
    status = "approved" if first == "settle" else "cancelled"
    assert await connection.fetchval("SELECT status FROM orders") == status


@pytest.mark.parametrize("held", ["orders WHERE id = 3", "users WHERE id = 1"])
async def test_refund__row_held_by_another_session__delays_only_those_who_need_it(
    database_url: str, connection: Connection, held: str
) -> None:
    settings = Settings().changed(lock_timeout_s=0.2, batch_wait_s=60.0)
    async with Database(database_url, settings.database) as database:
        await add_products(database, connection)
        async with database.transaction() as batch:
            for commands_ in START:
                await EXECUTORS[type(commands_[0])](batch, commands_)
            await settle_orders(batch, [SettleOrder(4, 0.0)], 1.0)
        lane = LockingLane[RefundOrder, Any]("test", database, refund_orders, settings.batches)
        async with connection.transaction():
            await connection.execute(f"SELECT 1 FROM {held} FOR NO KEY UPDATE")
            blocked = asyncio.create_task(lane.submit(RefundOrder(3, 1)))
            other = await lane.submit(RefundOrder(4, 1))  # of another user
            assert isinstance(other, Refund)
            with pytest.raises(DatabaseBusy):
                await blocked
        assert isinstance(await lane.submit(RefundOrder(3, 1)), Refund)
        await lane.close()
    await assert_money_conserved(connection)
