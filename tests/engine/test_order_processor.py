"""Settling orders in the background, by one process or many, whatever goes wrong on the way."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg
import pytest
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.orders import processor as order_processor
from rowlock.orders.routes import SETTLE_ORDER
from rowlock.orders.rules import CreateOrder, Item, SettleOrder
from rowlock.orders.transactions import create_orders
from rowlock.services import COMMERCE
from tests.engine.test_equivalence import assert_money_conserved
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.scraping import scrape

NETFLIX = 1
PRICE = 7599
NEVER = 3600.0  # seconds between polls: whatever happens, no poll was needed


@pytest.fixture
def serve(aiohttp_client, database_url, settings, catalogue):
    """Start a commerce service with some settings changed, with or without the processor."""

    async def start(*, processor: bool = True, **changes: object) -> TestClient:
        tasks = {"order_processor": order_processor.run} if processor else {}
        service = replace(COMMERCE, tasks=tasks)
        return await aiohttp_client(create_app(service, settings.changed(**changes), database_url))

    return start


@pytest.fixture
def open_account(connection: asyncpg.Connection):
    """Open an account with a balance; return its id."""

    async def open_one(username: str, balance: int) -> int:
        async with connection.transaction():
            assert await create_users(connection, [CreateUser(username, balance)]) == [True]
        return await connection.fetchval("SELECT id FROM users WHERE username = $1", username)

    return open_one


async def order(client: TestClient, user_id: int | None = None, quantity: int = 1) -> int:
    """Order some netflix; return the order's id."""
    body = {"items": [{"productId": NETFLIX, "quantity": quantity}], "userId": user_id}
    response = await client.post("/orders", json=body)
    assert response.status == 201
    return (await response.json())["id"]


async def settled(connection: asyncpg.Connection, *order_ids: int) -> list[tuple]:
    """Wait until the orders are settled; return their statuses and reasons."""
    pending = "SELECT count(*) FROM orders WHERE status = 'pending' AND id = any($1)"

    async def none_pending() -> bool:
        return not await connection.fetchval(pending, order_ids)

    await until(none_pending)
    rows = await connection.fetch("SELECT * FROM orders WHERE id = any($1) ORDER BY id", order_ids)
    return [(row["status"], row["reason"]) for row in rows]


async def ledger(connection: asyncpg.Connection, user_id: int) -> list[tuple]:
    """The user's entries after the opening balance."""
    rows = await connection.fetch(
        "SELECT amount, balance_after, reason, reference FROM ledger_entries "
        "WHERE user_id = $1 AND reason <> 'opening_balance' ORDER BY id",
        user_id,
    )
    return [tuple(row) for row in rows]


APPROVED = ("approved", None)


@pytest.mark.parametrize(
    ("balance", "quantity", "balance_after"),
    [
        (PRICE + 1, 1, 1),
        (PRICE, 1, 0),
        (PRICE - 1, 1, None),
        (0, 1, None),
        (5 * PRICE, 3, 2 * PRICE),
        (5 * PRICE, 6, None),
    ],
)
async def test_settle__order_of_a_user__paid_if_the_balance_covers_it(
    serve, connection, open_account, *, balance, quantity, balance_after
):
    # The approval rate, which is for orders without a user, says the opposite.
    approval_rate = 1.0 if balance_after is None else 0.0
    client = await serve(approval_rate=approval_rate, processor_poll_s=NEVER)
    user_id = await open_account("ada", balance)
    order_id = await order(client, user_id, quantity)
    amount = quantity * PRICE
    if balance_after is None:
        expected, payload = ("refused", "insufficient_balance"), {"reason": "insufficient_balance"}
        entries = []
    else:
        expected, payload = APPROVED, {"balance_after": balance_after}
        entries = [(-amount, balance_after, "order", f"order:{order_id}")]
    assert await settled(connection, order_id) == [expected]
    assert await ledger(connection, user_id) == entries
    await assert_money_conserved(connection)
    rows = await connection.fetch(
        "SELECT name, payload FROM outbox WHERE subject = $1 ORDER BY xid, position",
        f"order:{order_id}",
    )
    assert [row["name"] for row in rows] == ["order.created", f"order.{expected[0]}"]
    told = json.loads(rows[1]["payload"])
    created_at = await connection.fetchval("SELECT created_at FROM orders WHERE id = $1", order_id)
    assert datetime.fromisoformat(told.pop("order_created_at")) == created_at
    assert told == {"order_id": order_id, "user_id": user_id, "amount": amount} | payload


async def test_settle__orders_of_several_requests__each_event_has_its_order_s(serve, connection):
    client = await serve(processor_poll_s=NEVER)
    for number in range(5):
        body = {"items": [{"productId": NETFLIX, "quantity": 1}]}
        headers = {"X-Request-ID": f"request-{number}"}
        assert (await client.post("/orders", json=body, headers=headers)).status == 201
    orders = await connection.fetch("SELECT id, request_id FROM orders")
    await settled(connection, *(row["id"] for row in orders))
    events = await connection.fetch("SELECT DISTINCT subject, request_id FROM outbox")
    assert sorted(map(tuple, events)) == [
        (f"order:{id_}", request_id) for id_, request_id in sorted(map(tuple, orders))
    ]


@pytest.mark.parametrize(
    ("approval_rate", "expected"), [(1.0, APPROVED), (0.0, ("refused", "not_approved"))]
)
async def test_settle__order_without_user__approval_rate_decides(
    serve, connection, approval_rate, expected
):
    client = await serve(approval_rate=approval_rate, processor_poll_s=NEVER)
    order_ids = await asyncio.gather(*(order(client) for _ in range(20)))
    assert await settled(connection, *order_ids) == [expected] * 20


async def test_settle__more_than_the_balance_covers__first_ones_are_paid(
    serve, connection, open_account
):
    quiet = await serve(processor=False)
    user_id = await open_account("ada", 3 * PRICE)
    order_ids = [await order(quiet, user_id, quantity) for quantity in (2, 2, 1, 1)]
    await serve(processor_poll_s=NEVER)
    refused = ("refused", "insufficient_balance")
    assert await settled(connection, *order_ids) == [APPROVED, refused, APPROVED, refused]


@pytest.mark.parametrize("creator", ["this process", "another process"])
async def test_settle__created_while_it_sleeps__woken_at_once(serve, connection, creator):
    processing = await serve(processor_poll_s=NEVER)
    client = processing if creator == "this process" else await serve(processor=False)
    for _ in range(3):
        order_id = await order(client)
        assert len(await settled(connection, order_id)) == 1


@pytest.mark.parametrize(("page", "batch"), [(1, 1), (4, 3), (5, 2), (3, 5), (10, 4), (8192, 512)])
async def test_settle__pending_at_the_start__all_found(
    serve, connection, open_account, page, batch
):
    quiet = await serve(processor=False)
    users = [None, *[await open_account(f"user-{number}", 0) for number in range(2)]]
    order_ids = [await order(quiet, users[number % 3]) for number in range(10)]
    await serve(processor_poll_s=NEVER, processor_page_orders=page, processor_batch_orders=batch)
    assert len(await settled(connection, *order_ids)) == 10


async def test_settle__orders_of_several_users__each_user_in_one_transaction(
    serve, connection, open_account
):
    quiet = await serve(processor=False)
    users = [await open_account(f"user-{number}", 3 * PRICE) for number in range(3)]
    order_ids = [await order(quiet, user_id) for _ in range(3) for user_id in users]
    await serve(processor_poll_s=NEVER, processor_page_orders=9, processor_batch_orders=3)
    assert await settled(connection, *order_ids) == [APPROVED] * 9
    transactions = "SELECT count(DISTINCT xid) FROM outbox WHERE name = 'order.approved'"
    of_user = f"{transactions} AND payload['user_id'] = to_jsonb($1::bigint)"
    assert [await connection.fetchval(of_user, user_id) for user_id in users] == [1, 1, 1]
    assert await connection.fetchval(transactions) == 3


async def test_settle__put_off_since_it_was_found__left_alone(serve, connection):
    client = await serve(processor=False, approval_rate=1.0)
    order_id = await order(client)
    put_off = "UPDATE orders SET next_attempt_at = now() + $2::interval WHERE id = $1"
    await connection.execute(put_off, order_id, timedelta(hours=1))
    assert await client.app[SETTLE_ORDER].submit(SettleOrder(order_id, 0.0)) is None
    await connection.execute(put_off, order_id, timedelta(0))
    settlement = await client.app[SETTLE_ORDER].submit(SettleOrder(order_id, 0.0))
    assert settlement.status == "approved"


@pytest.mark.parametrize("poll_s", [NEVER, 0.02])
async def test_settle__commits_out_of_order__late_one_is_found(
    serve, connection, database_url, poll_s
):
    client = await serve(processor_poll_s=poll_s)
    late = await asyncpg.connect(database_url)
    transaction = late.transaction()
    await transaction.start()
    command = CreateOrder(None, (Item(NETFLIX, 1),))
    [created] = await create_orders(late, [command])
    for _ in range(10):  # over many polls, if there are any
        order_id = await order(client)
        assert order_id > created.id
        await settled(connection, order_id)
    await transaction.commit()
    await late.close()
    assert len(await settled(connection, created.id)) == 1


@pytest.fixture
async def cursed(connection, open_account) -> int:
    """The id of a user whose ledger takes no entry any more."""
    user_id = await open_account("cursed", 100 * PRICE)
    await connection.execute(
        f"ALTER TABLE ledger_entries ADD CHECK (user_id <> {user_id}) NOT VALID"
    )
    return user_id


@pytest.mark.parametrize("attempts", [1, 3])
async def test_settle__fails_again_and_again__refused_while_others_go_on(
    serve, connection, open_account, cursed, attempts
):
    quiet = await serve(processor=False)
    good = await open_account("ada", 100 * PRICE)
    order_ids = [await order(quiet, user_id) for user_id in (good, cursed, good, None)]
    client = await serve(
        approval_rate=1.0,
        processor_poll_s=0.02,
        processor_attempts=attempts,
        processor_retry_s=0.01,
    )
    order_ids.append(await order(client, good))
    failed = ("refused", "processing_failed")
    assert await settled(connection, *order_ids) == [
        APPROVED, failed, APPROVED, APPROVED, APPROVED
    ]  # fmt: skip
    row = await connection.fetchrow("SELECT * FROM orders WHERE id = $1", order_ids[1])
    assert row["attempts"] == attempts - 1
    assert await ledger(connection, cursed) == []
    assert len(await ledger(connection, good)) == 3
    await assert_money_conserved(connection)
    name = "SELECT name FROM outbox WHERE subject = $1 ORDER BY xid DESC LIMIT 1"
    assert await connection.fetchval(name, f"order:{order_ids[1]}") == "order.refused"
    assert (await client.get("/readyz")).status == 200


async def test_settle__fails__pauses_double_up_to_the_limit(serve, connection, cursed):
    await serve(
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
    assert await settled(connection, created.id) == [("refused", "processing_failed")]
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
    FOR EACH STATEMENT EXECUTE FUNCTION refuse()"""


async def test_settle__fault_that_is_no_order_s__orders_wait_until_it_is_mended(
    serve, connection, open_account
):
    user_id = await open_account("ada", 100 * PRICE)
    await connection.execute(BREAK)
    client = await serve(
        approval_rate=1.0,
        processor_poll_s=0.01,
        processor_attempts=1,
        processor_retry_s=0.01,
    )
    with capture_logs() as lines:
        order_ids = [await order(client, user_id) for _ in range(5)]
        least = "SELECT min(attempts) FROM orders WHERE id = any($1)"

        async def all_failed_again_and_again() -> bool:
            return await connection.fetchval(least, order_ids) > 2

        await until(all_failed_again_and_again)
        for _ in range(5):
            assert await settled(connection, await order(client)) == [APPROVED]
        pending = "SELECT count(*) FROM orders WHERE id = any($1) AND status = 'pending'"
        assert await connection.fetchval(pending, order_ids) == 5
        await connection.execute("DROP TRIGGER refuse ON ledger_entries")
        assert await settled(connection, *order_ids) == [APPROVED] * 5
    await assert_money_conserved(connection)
    assert {line["event"] for line in lines} >= {"order_failed", "order_postponed"}
    assert "task_failed" not in {line["event"] for line in lines}


async def test_settle__no_room_in_the_queue_for_some__those_settled_are_noted(serve, connection):
    quiet = await serve(processor=False)
    order_ids = [await order(quiet) for _ in range(5)]

    async def counted() -> float:  # of all processors that this process has had
        return (await scrape(quiet, "/metrics")).value("rowlock_orders_settled_total")

    before = await counted()
    with capture_logs() as lines:
        await serve(batch_queue=3, log_requests=True, task_retry_s=0.01)
        await settled(connection, *order_ids)

        async def are_counted() -> bool:
            return await counted() - before == len(order_ids)

        await until(are_counted)
    noted = [line["order_id"] for line in lines if line["event"] == "order_settled"]
    assert sorted(noted) == order_ids


@asynccontextmanager
async def in_constant_use(
    connection: asyncpg.Connection, url: str, user_id: int
) -> AsyncIterator[None]:
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


PATIENT = {"lock_timeout_s": 60.0, "statement_timeout_s": 60.0, "processor_poll_s": NEVER}


@pytest.mark.parametrize("orders", [1, 30])
async def test_settle__user_s_row_in_constant_use__waits_for_it_like_everybody(
    serve, connection, database_url, open_account, orders
):
    quiet = await serve(processor=False)
    user_id = await open_account("ada", 100 * PRICE)
    order_ids = [await order(quiet, user_id) for _ in range(orders)]
    async with in_constant_use(connection, database_url, user_id):
        await serve(**PATIENT)
    assert await settled(connection, *order_ids) == [APPROVED] * orders
    transactions = "SELECT count(DISTINCT xid) FROM outbox WHERE name = 'order.approved'"
    assert await connection.fetchval(transactions) == 1
    await assert_money_conserved(connection)


async def test_settle__waits_and_fails__each_order_by_itself(
    serve, connection, database_url, cursed
):
    quiet = await serve(processor=False)
    order_ids = [await order(quiet, cursed, quantity) for quantity in (1, 1000, 1)]
    async with in_constant_use(connection, database_url, cursed):
        await serve(**PATIENT, processor_attempts=1)
    failed = ("refused", "processing_failed")
    assert await settled(connection, *order_ids) == [
        failed, ("refused", "insufficient_balance"), failed
    ]  # fmt: skip
    await assert_money_conserved(connection)


@pytest.mark.parametrize("blocked_orders", [1, 30])
async def test_settle__user_locked_by_somebody__only_their_orders_wait(
    serve, connection, database_url, open_account, blocked_orders
):
    quiet = await serve(processor=False)
    locked, free = await open_account("locked", 100 * PRICE), await open_account("ada", 100 * PRICE)
    blocked_ids = [await order(quiet, locked) for _ in range(blocked_orders)]
    free_ids = [await order(quiet, free) for _ in range(3)]
    somebody = await asyncpg.connect(database_url)
    async with somebody.transaction():
        await somebody.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", locked)
        client = await serve(
            lock_timeout_s=0.1,
            batch_wait_s=0.25,  # in proportion, as it is by default
            processor_poll_s=0.02,
            processor_attempts=1,
        )
        assert await settled(connection, *free_ids) == [APPROVED] * 3
        for _ in range(20):  # over many polls
            assert await settled(connection, await order(client, free)) == [APPROVED]
        assert (await client.get("/readyz")).status == 200
        assert await ledger(connection, locked) == []
    await somebody.close()
    assert await settled(connection, *blocked_ids) == [APPROVED] * blocked_orders
    await assert_money_conserved(connection)


async def test_settle__two_processors__each_order_once(serve, connection, open_account):
    rng = random.Random(1)
    settings = {
        "processor_poll_s": 0.01,
        "processor_page_orders": 50,
        "processor_batch_orders": 7,
        "approval_rate": 1.0,
    }
    clients = [await serve(**settings), await serve(**settings)]
    users = [await open_account(f"user-{number}", 25 * PRICE) for number in range(4)]
    order_ids = await asyncio.gather(
        *(order(rng.choice(clients), rng.choice([*users, None])) for _ in range(200))
    )
    outcomes = await settled(connection, *order_ids)
    assert len(outcomes) == 200
    assert set(outcomes) <= {APPROVED, ("refused", "insufficient_balance")}
    await assert_money_conserved(connection)
    paid = [reference for user_id in users for *_, reference in await ledger(connection, user_id)]
    assert len(set(paid)) == len(paid)
    approved = "SELECT id FROM orders WHERE user_id IS NOT NULL AND status = 'approved'"
    assert set(paid) == {f"order:{row['id']}" for row in await connection.fetch(approved)}
    events = "SELECT count(*), count(DISTINCT subject) FROM outbox WHERE name <> 'order.created' "
    events += "AND subject LIKE 'order:%'"
    assert tuple(await connection.fetchrow(events)) == (200, 200)


async def test_settle__connections_lost__listens_again(serve, connection):
    await serve(processor_poll_s=NEVER, task_retry_s=0.01)
    quiet = await serve(processor=False)
    assert len(await settled(connection, await order(quiet))) == 1
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(3):
        async with connection.transaction():
            [created] = await create_orders(connection, [CreateOrder(None, (Item(NETFLIX, 1),))])
        assert len(await settled(connection, created.id)) == 1
