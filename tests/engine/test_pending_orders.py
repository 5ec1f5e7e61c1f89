"""What finding pending orders reads, while an old transaction holds up vacuum."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from rowlock.engine.statements import queries
from rowlock.orders import Orders
from tests.support.polling import until
from tests.support.settling import Start, settled
from tests.support.types import Connection

SETTLED = 30_000
QUICK = {"processor_poll_s": 0.02, "approval_rate": 1.0}


@pytest.fixture
async def held_snapshot(database_url: str) -> AsyncIterator[None]:
    """A transaction in another session that keeps what it sees, from now on."""
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction(isolation="repeatable_read")
    await transaction.start()
    await holder.execute("SELECT count(*) FROM orders")
    yield
    await transaction.rollback()
    await holder.close()


async def settle_many(connection: Connection) -> int:
    """Leave the index entries of orders that were pending; return the highest id."""
    await connection.execute(
        "INSERT INTO orders (status, amount) SELECT 'pending', 0 FROM generate_series(1, $1::int)",
        SETTLED,
    )
    await connection.execute(
        "UPDATE orders SET status = 'approved', settled_at = now() WHERE status = 'pending' "
        "AND next_attempt_at IS NULL"
    )
    highest: int = await connection.fetchval("SELECT max(id) FROM orders")
    return highest


async def pages_read(connection: Connection, after: int) -> int:
    """How many pages a sweep reads that begins above an id."""
    query = queries.find("orders/find_pending")
    assert query is not None
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.sql}", after, 2**63 - 1, [], 100
    )
    [plan] = json.loads(text)
    hit: int = plan["Plan"]["Shared Hit Blocks"]
    return hit + int(plan["Plan"]["Shared Read Blocks"])


async def put_off(connection: Connection, order_id: int, delay: timedelta) -> None:
    await connection.execute(
        "UPDATE orders SET next_attempt_at = now() + $2::interval WHERE id = $1", order_id, delay
    )


async def above(orders: Orders, highest: int) -> bool:
    return orders.pending.floor >= highest


@pytest.mark.usefixtures("held_snapshot")
async def test_sweep__many_settled_since_and_vacuum_held_up__reads_what_is_new(
    start: Start, connection: Connection
) -> None:
    quiet = await start(processor=False)
    postponed = await quiet.order()
    await put_off(connection, postponed, timedelta(hours=1))
    process = await start(**QUICK)
    highest = await settle_many(connection)
    # One that can't be settled does not hold the floor down, and is settled when it is due.
    await until(lambda: above(process.orders, highest))
    assert process.orders.pending.left == {postponed}
    assert await pages_read(connection, 0) > SETTLED / 300
    assert await pages_read(connection, process.orders.pending.floor) < 10
    await put_off(connection, postponed, timedelta(0))
    order_ids = [await quiet.order() for _ in range(3)]
    assert len(await settled(connection, postponed, *order_ids)) == 4
    await until(lambda: not process.orders.pending.left)


@pytest.mark.usefixtures("held_snapshot")
async def test_sweep__order_of_a_transaction_that_ends_late__found_below_the_newest(
    start: Start, connection: Connection, database_url: str
) -> None:
    process = await start(**QUICK)
    late = await asyncpg.connect(database_url)
    transaction = late.transaction()
    await transaction.start()
    late_id = await late.fetchval(
        "INSERT INTO orders (status, amount) VALUES ('pending', 0) RETURNING id"
    )
    highest = await settle_many(connection)
    for _ in range(10):
        await settled(connection, await process.order())
    assert process.orders.pending.floor < late_id < highest
    await transaction.commit()
    await late.close()
    assert len(await settled(connection, late_id)) == 1
    await until(lambda: above(process.orders, highest))


async def test_sweep__ids_begin_anew__orders_below_the_floor_are_found(
    start: Start, connection: Connection
) -> None:
    process = await start(**QUICK)
    await settle_many(connection)
    await until(lambda: process.orders.pending.floor > 0)
    # As after a failover that lost them.
    await connection.execute("SET session_replication_role = replica")  # no triggers
    await connection.execute("TRUNCATE orders RESTART IDENTITY CASCADE")
    await connection.execute("RESET session_replication_role")
    assert len(await settled(connection, await process.order())) == 1


async def test_sweep__epoch_begins__orders_below_the_floor_are_found(
    start: Start, connection: Connection
) -> None:
    process = await start(**QUICK)
    settled_id = await process.order()
    assert len(await settled(connection, settled_id)) == 1
    highest = await settle_many(connection)
    await until(lambda: above(process.orders, highest))
    # As on a standby that lacks the settlement, but has given as many ids.
    await connection.execute("SET session_replication_role = replica")  # no triggers
    async with connection.transaction():
        await connection.execute(
            "UPDATE orders SET status = 'pending', settled_at = NULL WHERE id = $1", settled_id
        )
        await connection.fetchval("SELECT declare_epoch()")
    await connection.execute("RESET session_replication_role")
    assert len(await settled(connection, settled_id)) == 1
