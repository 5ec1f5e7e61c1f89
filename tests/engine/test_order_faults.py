"""Settling orders in the background, whatever goes wrong on the way."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from structlog.testing import capture_logs

from rowlock.orders.rules import CreateOrder, Item, Order
from rowlock.orders.transactions import create_orders
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.sessions import end_others
from tests.support.settling import (
    APPROVED,
    FAILED,
    NETFLIX,
    NEVER,
    PRICE,
    UNPAYABLE,
    Start,
    ledger,
    settled,
)
from tests.support.types import Connection, OpenAccount


@pytest.fixture
async def cursed(connection: Connection, open_account: OpenAccount) -> int:
    """The id of a user whose ledger takes no entry any more."""
    user_id = await open_account("cursed", 100 * PRICE)
    await connection.execute(
        f"ALTER TABLE ledger_entries ADD CHECK (user_id <> {user_id}) NOT VALID"
    )
    return user_id


@pytest.mark.parametrize("attempts", [1, 3])
async def test_settle__fails_again_and_again__refused_while_others_go_on(
    start: Start, connection: Connection, open_account: OpenAccount, cursed: int, attempts: int
) -> None:
    quiet = await start(processor=False)
    good = await open_account("ada", 100 * PRICE)
    order_ids = [await quiet.order(user_id) for user_id in (good, cursed, good, None)]
    process = await start(
        approval_rate=1.0,
        processor_poll_s=0.02,
        processor_attempts=attempts,
        processor_retry_s=0.01,
    )
    order_ids.append(await process.order(good))
    assert await settled(connection, *order_ids) == [
        APPROVED, FAILED, APPROVED, APPROVED, APPROVED
    ]  # fmt: skip
    tried = await connection.fetchval("SELECT attempts FROM orders WHERE id = $1", order_ids[1])
    assert tried == attempts - 1
    assert await ledger(connection, cursed) == []
    assert len(await ledger(connection, good)) == 3
    await assert_money_conserved(connection)
    name = "SELECT name FROM outbox WHERE subject = $1 ORDER BY xid DESC LIMIT 1"
    assert await connection.fetchval(name, f"order:{order_ids[1]}") == "order.refused"
    assert process.tasks.problems() == {}


async def test_settle__fails__pauses_double_up_to_the_limit(
    start: Start, connection: Connection, cursed: int
) -> None:
    await start(
        processor_poll_s=0.01,
        processor_attempts=6,
        processor_retry_s=0.02,
        processor_retry_limit_s=0.08,
    )
    # Every change of an order, as it happens.
    await connection.execute(
        """
        CREATE TABLE changes (attempts integer, delay interval, at timestamptz);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            INSERT INTO changes VALUES (new.attempts, new.next_attempt_at - now(), now());
            RETURN NULL;
        END $$;
        CREATE TRIGGER note AFTER UPDATE OF attempts ON orders
        FOR EACH ROW EXECUTE FUNCTION note()"""
    )
    async with connection.transaction():
        [created] = await create_orders(connection, [CreateOrder(cursed, (Item(NETFLIX, 1),))])
    assert isinstance(created, Order)
    assert await settled(connection, created.id) == [FAILED]
    rows = await connection.fetch("SELECT * FROM changes ORDER BY at")
    assert [(row["attempts"], row["delay"].total_seconds()) for row in rows] == [
        (1, 0.02),
        (2, 0.04),
        (3, 0.08),
        (4, 0.08),
        (5, 0.08),
    ]
    pauses = [(later["at"] - row["at"]) >= row["delay"] for row, later in itertools.pairwise(rows)]
    assert all(pauses)


# A mistake of ours: no entry can be added to the ledger.
BREAK = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE 'permission denied' USING ERRCODE = 'insufficient_privilege';
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION refuse()"""


async def test_settle__fault_that_is_no_order_s__orders_wait_until_it_is_mended(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    user_id = await open_account("ada", 100 * PRICE)
    await connection.execute(BREAK)
    process = await start(
        approval_rate=1.0,
        processor_poll_s=0.01,
        processor_attempts=1,
        processor_retry_s=0.01,
    )
    with capture_logs() as lines:
        order_ids = [await process.order(user_id) for _ in range(5)]
        least = "SELECT min(attempts) FROM orders WHERE id = any($1)"

        async def all_failed_again_and_again() -> bool:
            fewest: int = await connection.fetchval(least, order_ids)
            return fewest > 2

        await until(all_failed_again_and_again)
        for _ in range(5):
            assert await settled(connection, await process.order()) == [APPROVED]
        pending = "SELECT count(*) FROM orders WHERE id = any($1) AND status = 'pending'"
        assert await connection.fetchval(pending, order_ids) == 5
        await connection.execute("DROP TRIGGER refuse ON ledger_entries")
        assert await settled(connection, *order_ids) == [APPROVED] * 5
    await assert_money_conserved(connection)
    assert {line["event"] for line in lines} >= {"order_failed", "order_postponed"}
    assert "task_failed" not in {line["event"] for line in lines}


@asynccontextmanager
async def in_constant_use(connection: Connection, url: str, user_id: int) -> AsyncIterator[None]:
    """Lock the user's row, and let go of it once somebody else waits for it."""
    somebody = await asyncpg.connect(url)
    async with somebody.transaction():
        await somebody.execute("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE", user_id)
        yield
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND backend_xid IS NULL"  # so the relay goes on
        )
        await until(lambda: connection.fetchval(waiting))
    await somebody.close()


PATIENT: dict[str, object] = {
    "lock_timeout_s": 60.0,
    "statement_timeout_s": 60.0,
    "processor_poll_s": NEVER,
}


@pytest.mark.parametrize("orders", [1, 30])
async def test_settle__user_s_row_in_constant_use__waits_for_it_like_everybody(
    start: Start, connection: Connection, database_url: str, open_account: OpenAccount, orders: int
) -> None:
    quiet = await start(processor=False)
    user_id = await open_account("ada", 100 * PRICE)
    order_ids = [await quiet.order(user_id) for _ in range(orders)]
    async with in_constant_use(connection, database_url, user_id):
        await start(**PATIENT)
    assert await settled(connection, *order_ids) == [APPROVED] * orders
    transactions = "SELECT count(DISTINCT xid) FROM outbox WHERE name = 'order.approved'"
    assert await connection.fetchval(transactions) == 1
    await assert_money_conserved(connection)


async def test_settle__waits_and_fails__each_order_by_itself(
    start: Start, connection: Connection, database_url: str, cursed: int
) -> None:
    quiet = await start(processor=False)
    order_ids = [await quiet.order(cursed, quantity) for quantity in (1, 1000, 1)]
    async with in_constant_use(connection, database_url, cursed):
        await start(**PATIENT, processor_attempts=1)
    assert await settled(connection, *order_ids) == [FAILED, UNPAYABLE, FAILED]
    await assert_money_conserved(connection)


@pytest.mark.parametrize("blocked_orders", [1, 30])
async def test_settle__user_locked_by_somebody__only_their_orders_wait(
    start: Start,
    connection: Connection,
    database_url: str,
    open_account: OpenAccount,
    blocked_orders: int,
) -> None:
    quiet = await start(processor=False)
    locked, free = await open_account("locked", 100 * PRICE), await open_account("ada", 100 * PRICE)
    blocked_ids = [await quiet.order(locked) for _ in range(blocked_orders)]
    free_ids = [await quiet.order(free) for _ in range(3)]
    somebody = await asyncpg.connect(database_url)
    async with somebody.transaction():
        await somebody.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", locked)
        process = await start(
            lock_timeout_s=0.2,
            batch_wait_s=0.8,  # in proportion, as it is by default
            processor_poll_s=0.02,
            processor_attempts=1,
        )
        assert await settled(connection, *free_ids) == [APPROVED] * 3
        for _ in range(20):  # over many polls
            assert await settled(connection, await process.order(free)) == [APPROVED]
        assert process.tasks.problems() == {}
        assert await ledger(connection, locked) == []
    await somebody.close()
    assert await settled(connection, *blocked_ids) == [APPROVED] * blocked_orders
    await assert_money_conserved(connection)


async def test_settle__connections_lost__listens_again(
    start: Start, connection: Connection
) -> None:
    await start(processor_poll_s=NEVER, task_retry_s=0.01)
    quiet = await start(processor=False)
    assert len(await settled(connection, await quiet.order())) == 1
    await end_others(connection)
    for _ in range(3):
        async with connection.transaction():
            [created] = await create_orders(connection, [CreateOrder(None, (Item(NETFLIX, 1),))])
            await connection.execute("NOTIFY order_created")
        assert isinstance(created, Order)
        assert len(await settled(connection, created.id)) == 1
