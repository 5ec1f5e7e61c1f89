"""Settling orders in the background, by one process or many."""

import asyncio
import json
import random
from datetime import datetime, timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from rowlock.engine.metrics import REGISTRY
from rowlock.orders.rules import CreateOrder, Item, Order, Settlement, SettleOrder
from rowlock.orders.transactions import create_orders
from tests.support.money import assert_money_conserved
from tests.support.polling import until
from tests.support.settling import (
    APPROVED,
    NETFLIX,
    NEVER,
    PRICE,
    UNPAYABLE,
    Start,
    ledger,
    settled,
)
from tests.support.types import Connection, OpenAccount


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
    start: Start,
    connection: Connection,
    open_account: OpenAccount,
    *,
    balance: int,
    quantity: int,
    balance_after: int | None,
) -> None:
    # The approval rate, which is for orders without a user, says the opposite.
    approval_rate = 1.0 if balance_after is None else 0.0
    process = await start(approval_rate=approval_rate, processor_poll_s=NEVER)
    user_id = await open_account("ada", balance)
    order_id = await process.order(user_id, quantity)
    amount = quantity * PRICE
    [outcome] = await settled(connection, order_id)
    entries = await ledger(connection, user_id)
    detail: dict[str, object]
    if balance_after is None:
        detail = {"reason": "insufficient_balance"}
        assert outcome == UNPAYABLE
        assert entries == []
    else:
        detail = {"balance_after": balance_after}
        assert outcome == APPROVED
        reference = f"order:{order_id}"
        assert entries == [
            {"amount": -amount, "reason": "order", "reference": reference, **detail},
        ]
    await assert_money_conserved(connection)
    rows = await connection.fetch(
        "SELECT name, payload FROM outbox WHERE subject = $1 ORDER BY xid, position",
        f"order:{order_id}",
    )
    assert [row["name"] for row in rows] == ["order.created", f"order.{outcome[0]}"]
    told = json.loads(rows[1]["payload"])
    created_at = await connection.fetchval("SELECT created_at FROM orders WHERE id = $1", order_id)
    assert datetime.fromisoformat(told.pop("order_created_at")) == created_at
    assert told == {"order_id": order_id, "user_id": user_id, "amount": amount} | detail


async def test_settle__orders_of_several_requests__each_event_has_its_order_s(
    start: Start, connection: Connection
) -> None:
    process = await start(processor_poll_s=NEVER)
    requests = [f"request-{number}" for number in range(5)]
    order_ids = [await process.order(request_id=request_id) for request_id in requests]
    await settled(connection, *order_ids)
    events = await connection.fetch(
        "SELECT subject, array_agg(request_id) AS requests FROM outbox GROUP BY subject"
    )
    assert {row["subject"]: row["requests"] for row in events} == {
        f"order:{order_id}": [request_id] * 2
        for order_id, request_id in zip(order_ids, requests, strict=True)
    }


async def test_settle__order_of_a_user__actor_of_the_event_and_of_the_entry_is_the_system(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    process = await start(processor_poll_s=NEVER)
    user_id = await open_account("ada", PRICE)
    order_id = await process.order(user_id, request_id="r-1")
    await settled(connection, order_id)
    events = "SELECT request_id, actor FROM outbox WHERE subject = $1 ORDER BY xid, position"
    rows = await connection.fetch(events, f"order:{order_id}")
    assert [tuple(row) for row in rows] == [("r-1", "token"), ("r-1", "system")]
    entry = "SELECT actor FROM ledger_entries WHERE document_kind = 'order' AND document_id = $1"
    assert await connection.fetchval(entry, order_id) == "system"


@pytest.mark.parametrize(
    ("approval_rate", "expected"), [(1.0, APPROVED), (0.0, ("refused", "not_approved"))]
)
async def test_settle__order_without_user__approval_rate_decides(
    start: Start, connection: Connection, approval_rate: float, expected: tuple[str, str | None]
) -> None:
    process = await start(approval_rate=approval_rate, processor_poll_s=NEVER)
    order_ids = await asyncio.gather(*(process.order() for _ in range(20)))
    assert await settled(connection, *order_ids) == [expected] * 20


async def test_settle__more_than_the_balance_covers__first_ones_are_paid(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    quiet = await start(processor=False)
    user_id = await open_account("ada", 3 * PRICE)
    order_ids = [await quiet.order(user_id, quantity) for quantity in (2, 2, 1, 1)]
    await start(processor_poll_s=NEVER)
    assert await settled(connection, *order_ids) == [APPROVED, UNPAYABLE, APPROVED, UNPAYABLE]


@pytest.mark.parametrize("creator", ["this process", "another process"])
async def test_settle__created_while_it_sleeps__woken_at_once(
    start: Start, connection: Connection, creator: str
) -> None:
    processing = await start(processor_poll_s=NEVER)
    process = processing if creator == "this process" else await start(processor=False)
    for _ in range(3):
        order_id = await process.order()
        assert len(await settled(connection, order_id)) == 1


@pytest.mark.parametrize(("page", "batch"), [(1, 1), (4, 3), (5, 2), (3, 5), (10, 4), (8192, 512)])
async def test_settle__pending_at_the_start__all_found(
    start: Start, connection: Connection, open_account: OpenAccount, page: int, batch: int
) -> None:
    quiet = await start(processor=False)
    users = [None, *[await open_account(f"user-{number}", 0) for number in range(2)]]
    order_ids = [await quiet.order(users[number % 3]) for number in range(10)]
    await start(processor_poll_s=NEVER, processor_page_orders=page, processor_batch_orders=batch)
    assert len(await settled(connection, *order_ids)) == 10


async def test_settle__orders_of_several_users__each_user_in_one_transaction(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    quiet = await start(processor=False)
    users = [await open_account(f"user-{number}", 3 * PRICE) for number in range(3)]
    order_ids = [await quiet.order(user_id) for _ in range(3) for user_id in users]
    await start(processor_poll_s=NEVER, processor_page_orders=9, processor_batch_orders=3)
    assert await settled(connection, *order_ids) == [APPROVED] * 9
    transactions = "SELECT count(DISTINCT xid) FROM outbox WHERE name = 'order.approved'"
    of_user = f"{transactions} AND payload['user_id'] = to_jsonb($1::bigint)"
    assert [await connection.fetchval(of_user, user_id) for user_id in users] == [1, 1, 1]
    assert await connection.fetchval(transactions) == 3


async def test_settle__put_off_since_it_was_found__left_alone(
    start: Start, connection: Connection
) -> None:
    process = await start(processor=False, approval_rate=1.0)
    order_id = await process.order()
    put_off = "UPDATE orders SET next_attempt_at = now() + $2::interval WHERE id = $1"
    await connection.execute(put_off, order_id, timedelta(hours=1))
    assert await process.orders.settle.submit(SettleOrder(order_id, 0.0)) is None
    await connection.execute(put_off, order_id, timedelta(0))
    settlement = await process.orders.settle.submit(SettleOrder(order_id, 0.0))
    assert isinstance(settlement, Settlement)
    assert settlement.status == "approved"


@pytest.mark.parametrize("poll_s", [NEVER, 0.02])
async def test_settle__commits_out_of_order__late_one_is_found(
    start: Start, connection: Connection, database_url: str, poll_s: float
) -> None:
    process = await start(processor_poll_s=poll_s)
    late = await asyncpg.connect(database_url)
    transaction = late.transaction()
    await transaction.start()
    command = CreateOrder(None, (Item(NETFLIX, 1),))
    [created] = await create_orders(late, [command])
    assert isinstance(created, Order)
    for _ in range(10):  # over many polls, if there are any
        order_id = await process.order()
        assert order_id > created.id
        await settled(connection, order_id)
    await late.execute("NOTIFY order_created")
    await transaction.commit()
    await late.close()
    assert len(await settled(connection, created.id)) == 1


async def test_settle__two_processors__each_order_once(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    rng = random.Random(1)
    settings: dict[str, object] = {
        "processor_poll_s": 0.01,
        "processor_page_orders": 50,
        "processor_batch_orders": 7,
        "approval_rate": 1.0,
    }
    processes = [await start(**settings), await start(**settings)]
    users = [await open_account(f"user-{number}", 25 * PRICE) for number in range(4)]
    order_ids = await asyncio.gather(
        *(rng.choice(processes).order(rng.choice([*users, None])) for _ in range(200))
    )
    outcomes = await settled(connection, *order_ids)
    assert len(outcomes) == 200
    assert set(outcomes) <= {APPROVED, UNPAYABLE}
    await assert_money_conserved(connection)
    paid = [entry["reference"] for user_id in users for entry in await ledger(connection, user_id)]
    assert len(set(paid)) == len(paid)
    approved = "SELECT id FROM orders WHERE user_id IS NOT NULL AND status = 'approved'"
    assert set(paid) == {f"order:{row['id']}" for row in await connection.fetch(approved)}
    events = await connection.fetch(
        "SELECT subject FROM outbox WHERE name <> 'order.created' AND subject LIKE 'order:%'"
    )
    assert len(events) == len({row["subject"] for row in events}) == 200


async def test_settle__no_room_in_the_queue_for_some__those_settled_are_noted(
    start: Start, connection: Connection
) -> None:
    quiet = await start(processor=False)
    order_ids = [await quiet.order() for _ in range(5)]

    before = count_settled()
    with capture_logs() as lines:
        await start(batch_queue=3, log_requests=True, task_retry_s=0.01)
        await settled(connection, *order_ids)
        await until(lambda: count_settled() - before == len(order_ids))
    noted = [line["order_id"] for line in lines if line["event"] == "order_settled"]
    assert sorted(noted) == order_ids


def count_settled() -> float:
    """What the metric says, of all processors that this process has had."""
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "rowlock_orders_settled_total"
    )
