"""One user's orders, however many, do not hold up those of others."""

from collections.abc import Iterator

import asyncpg
import pytest

from tests.support.databases import cloned
from tests.support.polling import until
from tests.support.settling import APPROVED, NEVER, PRICE, Start, settled
from tests.support.types import Connection, OpenAccount

MANY = 20_000
BATCH = 512


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A database of the test's own: what it leaves would be in the way of others."""
    with cloned(server_url, template) as url:
        yield url


async def add_many(connection: Connection, user_id: int | None, count: int = MANY) -> None:
    """Let a user have many pending orders."""
    await connection.execute(
        "INSERT INTO orders (user_id, status, amount) "
        "SELECT $1::bigint, 'pending', 1 FROM generate_series(1, $2::int)",
        user_id,
        count,
    )


async def settled_before(connection: Connection, order_id: int) -> int:
    """How many orders were settled in transactions before that of this order."""
    count: int = await connection.fetchval(
        """
        SELECT count(*) FROM outbox
        WHERE name IN ('order.approved', 'order.refused')
            AND xid < (SELECT xid FROM outbox WHERE subject = $1 AND name <> 'order.created')""",
        f"order:{order_id}",
    )
    return count


async def some_settled(connection: Connection) -> bool:
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM orders WHERE status <> 'pending')"
    )
    return found


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("others", ["user", "nobody"])
async def test_settle__many_of_one_user_at_the_start__newest_one_of_another_comes_soon(
    start: Start,
    connection: Connection,
    open_account: OpenAccount,
    processes: int,
    others: str,
) -> None:
    quiet = await start(processor=False)
    heavy = await open_account("ada", MANY)
    other = await open_account("bob", PRICE) if others == "user" else None
    await add_many(connection, heavy)
    order_id = await quiet.order(other)
    for _ in range(processes):
        await start(processor_poll_s=NEVER, approval_rate=1.0)
    assert await settled(connection, order_id) == [APPROVED]
    # Each batch goes with the look at a page, or more; three pages reach it.
    assert await settled_before(connection, order_id) <= 6 * BATCH * processes


async def test_settle__many_without_a_user__one_of_a_user_comes_soon(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    quiet = await start(processor=False)
    await add_many(connection, None)
    order_id = await quiet.order(await open_account("bob", PRICE))
    await start(processor_poll_s=NEVER)
    assert await settled(connection, order_id) == [APPROVED]
    assert await settled_before(connection, order_id) <= 6 * BATCH


@pytest.mark.parametrize("processes", [1, 2])
async def test_settle__ordered_while_many_of_one_user_are_settled__does_not_wait_for_them(
    start: Start, connection: Connection, open_account: OpenAccount, processes: int
) -> None:
    heavy, other = await open_account("ada", 2 * MANY), await open_account("bob", 10 * PRICE)
    await add_many(connection, heavy, 2 * MANY)
    started = [await start(processor_poll_s=NEVER) for _ in range(processes)]
    await until(lambda: some_settled(connection))
    order_ids = [await started[0].order(other) for _ in range(10)]
    assert await settled(connection, *order_ids) == [APPROVED] * 10
    assert max([await settled_before(connection, each) for each in order_ids]) < MANY


async def test_settle__many_of_one_user__all_are_settled_in_order(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    heavy = await open_account("ada", MANY // 2)
    await add_many(connection, heavy)
    # Far more than the process holds at a time, which is eight pages.
    await start(processor_poll_s=NEVER, processor_page_orders=300)

    async def none_pending() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM orders WHERE status = 'pending'")

    await until(none_pending)
    paid = "SELECT max(id) FROM orders WHERE status = 'approved'"
    refused = "SELECT min(id) FROM orders WHERE status = 'refused'"
    first = await connection.fetchval("SELECT min(id) FROM orders")
    assert await connection.fetchval(paid) == first + MANY // 2 - 1
    assert await connection.fetchval(refused) == first + MANY // 2


async def test_settle__rows_of_some_users_locked__one_that_is_free_again_does_not_wait_for_them(
    start: Start, connection: Connection, database_url: str, open_account: OpenAccount
) -> None:
    quiet = await start(processor=False)
    locked, freed = await open_account("ada", MANY), await open_account("bob", PRICE)
    await add_many(connection, locked)
    order_id = await quiet.order(freed)
    holders = [await asyncpg.connect(database_url) for _ in range(2)]
    for holder, user_id in zip(holders, (locked, freed), strict=True):
        await holder.execute("BEGIN")
        await holder.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", user_id)
    process = await start(lock_timeout_s=0.2, batch_wait_s=0.8, processor_poll_s=NEVER)
    third = await open_account("eve", PRICE)
    assert await settled(connection, await process.order(third)) == [APPROVED]
    assert await connection.fetchval("SELECT status FROM orders WHERE id = $1", order_id) == (
        "pending"
    )
    await holders[1].execute("ROLLBACK")
    assert await settled(connection, order_id) == [APPROVED]
    assert await connection.fetchval("SELECT count(*) FROM orders WHERE status = 'pending'") == MANY
    for holder in holders:
        await holder.close()
    assert await connection.fetchval("SELECT balance FROM users WHERE id = $1", locked) == MANY


async def test_settle__put_off_while_there_are_many_of_another__tried_once_it_is_due(
    start: Start, connection: Connection, open_account: OpenAccount
) -> None:
    quiet = await start(processor=False)
    order_id = await quiet.order(await open_account("bob", PRICE))
    await connection.execute(
        "UPDATE orders SET next_attempt_at = now() + '1 s'::interval WHERE id = $1", order_id
    )
    heavy = await open_account("ada", 10 * MANY)
    await add_many(connection, heavy, 10 * MANY)
    # Batches of one: what there is would take minutes.
    await start(processor_poll_s=0.1, processor_batch_orders=1)
    assert await settled(connection, order_id) == [APPROVED]
    assert await settled_before(connection, order_id) < MANY
