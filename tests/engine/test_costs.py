"""What a command costs the database, in counts that no machine changes.

A batch costs the same number of statements whatever its size: each is a round trip, for which all
its commands wait. A row costs an entry in each index of its table, unless it is a heap-only update.
A change that raises a number here makes every request of its kind dearer: find another way, or say
in the commit why it is worth it.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import pytest

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.benefits.rules import PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import WriteLane
from rowlock.engine.once import Digest, IdempotencyKey, KeptAnswer, Once
from rowlock.invoices.rules import CreateInvoice, PayInvoice, ReverseInvoice, VoidInvoice
from rowlock.invoices.transactions import (
    create_invoices,
    pay_invoices,
    reverse_invoices,
    void_invoices,
)
from rowlock.orders.rules import CancelOrder, CreateOrder, Item, RetryOrder, SettleOrder
from rowlock.orders.transactions import (
    cancel_orders,
    create_orders,
    retry_orders,
    settle_orders,
)
from rowlock.refunds.rules import RefundOrder
from rowlock.refunds.transactions import refund_orders
from rowlock.service_orders import rules as service_orders
from rowlock.service_orders.transactions import change_orders
from rowlock.settings import Settings
from rowlock.transfers.rules import MakeTransfer
from rowlock.transfers.transactions import make_transfers
from tests.support.types import Connection

BATCH = 10  # commands
WARM_UP = 2  # batches: statements are prepared, and rows are there whose updates are heap-only
MOST = BATCH * (WARM_UP + 1)
TIME = datetime(2100, 1, 1, tzinfo=UTC)
# Orders that can be refunded have numbers above these.
FIRST_APPROVED, FIRST_BENEFIT = 10_000_000, 20_000_000


class Cost(NamedTuple):
    """What a command costs."""

    statements: int  # of its batch, with BEGIN and COMMIT
    rows: float  # inserted or updated, for each command
    # For each command, as if partial indexes had all rows; but without those of references, and
    # those of answers and events that show names.
    index_entries: float


def keyed(make: Callable[[int], Any]) -> Callable[[int], Any]:
    def make_once(number: int) -> Once[Any, Any]:
        digest = hashlib.sha256(str(number).encode()).digest()
        key = IdempotencyKey("commerce", str(number))
        answer = KeptAnswer(200, "{}", b"")
        return Once(make(number), key, Digest(digest, digest), lambda _: answer)

    return make_once


# Commands have numbers from 1 to MOST: users, pending invoices and orders of these ids are there.
# As many users, and paid invoices, have the ids that follow.
def place(number: int) -> PlaceOrder:
    return PlaceOrder(f"user-{number}", ("netflix",))


def book(number: int) -> service_orders.CreateOrder:
    return service_orders.CreateOrder(TIME + number * timedelta(hours=4), 100, (1,))


def reverse(number: int) -> ReverseInvoice:
    return ReverseInvoice(MOST + number)


def transfer(number: int) -> MakeTransfer:
    return MakeTransfer(number, MOST + number, 5, "Lunch")


def referred(number: int) -> MakeTransfer:
    return transfer(number)._replace(reference=f"lunch {number}")


def refund(number: int) -> RefundOrder:
    return RefundOrder(FIRST_APPROVED + number, 1)


def give_back(number: int) -> RefundOrder:
    return RefundOrder(FIRST_BENEFIT + number, None)


settle = partial(settle_orders, approval_rate=0.5)
Case = tuple[type[WriteLane[Any, Any]], Callable[..., Any], Callable[[int], Any], Cost]
CASES: dict[str, Case] = {
    "benefit order": (LockingLane, place_orders, place, Cost(5, 6, 11)),
    "benefit order, with a key": (LockingLane, place_orders, keyed(place), Cost(7, 7, 13)),
    "invoice": (WriteLane, create_invoices, lambda _: CreateInvoice(1, 5, "Work"), Cost(4, 2, 4)),
    "payment": (LockingLane, pay_invoices, PayInvoice, Cost(5, 4, 6)),
    "reversal": (LockingLane, reverse_invoices, reverse, Cost(5, 4, 6)),
    "voiding": (LockingLane, void_invoices, VoidInvoice, Cost(4, 2, 4)),
    "transfer": (LockingLane, make_transfers, transfer, Cost(4, 6, 9)),
    "transfer, with a reference": (LockingLane, make_transfers, referred, Cost(5, 6, 9)),
    "order of two items": (
        WriteLane,
        create_orders,
        lambda number: CreateOrder(number, (Item(1, 1), Item(2, 1))),
        Cost(4, 4, 9),
    ),
    "settlement": (WriteLane, settle, lambda number: SettleOrder(number, 0.0), Cost(5, 4, 9)),
    "cancellation": (LockingLane, cancel_orders, CancelOrder, Cost(5, 2, 7)),
    "retry of an order that is due": (LockingLane, retry_orders, RetryOrder, Cost(5, 0, 0)),
    "refund": (LockingLane, refund_orders, refund, Cost(5, 5, 5)),
    "refund of a benefit order": (LockingLane, refund_orders, give_back, Cost(5, 5, 5)),
    "booking": (WriteLane, change_orders, book, Cost(5, 3, 5)),
}


async def arrange(database: Database, connection: Connection) -> None:
    numbers, others = range(1, MOST + 1), range(MOST + 1, 2 * MOST + 1)
    async with database.transaction() as batch:
        for each in (numbers, others):
            await create_users(batch, [CreateUser(f"user-{n}", 90_000) for n in each])
            await create_invoices(batch, [CreateInvoice(n, 5, "Work") for n in each])
        await pay_invoices(batch, [PayInvoice(n) for n in others])
    async with database.transaction() as batch:
        await create_orders(batch, [CreateOrder(n, (Item(1, 1),)) for n in numbers])
    await connection.execute("INSERT INTO services (id, name) VALUES (1, 'Inspection')")
    # Their pages have room: whether an update is heap-only must not depend on what is pruned when.
    await connection.execute("ALTER TABLE orders SET (fillfactor = 50)")
    for first, reason, product in (
        (FIRST_APPROVED, "order", 2),
        (FIRST_BENEFIT, "benefit_order", 3),
    ):
        await connection.execute(
            "INSERT INTO orders (id, user_id, amount, status, settled_at) "
            "SELECT $1 + n, n, 5, 'approved', now() FROM generate_series(1, $2) AS n",
            first,
            MOST,
        )
        await connection.execute(
            "INSERT INTO order_items (order_id, product_id, quantity, price) "
            "SELECT $1 + n, $3, 1, 5 FROM generate_series(1, $2::integer) AS n",
            first,
            MOST,
            product,
        )
        await connection.execute(
            "INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference, "
            "document_kind, document_id, contra) "
            "SELECT n, -5, 5, $3, 'order:' || $1 + n, 'order', $1 + n, 'sales' "
            "FROM generate_series(1, $2) AS n",
            first,
            MOST,
            reason,
        )
    await connection.execute(
        "INSERT INTO owned_products (user_id, product_id) "
        "SELECT n, 3 FROM generate_series(1, $1) AS n",
        MOST,
    )


async def count_written(connection: Connection) -> list[int]:
    """Return how many rows and index entries have been written, since ever."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    [row] = await connection.fetch(
        "SELECT sum(n_tup_ins + n_tup_upd)::bigint AS rows,"
        " sum((n_tup_ins + n_tup_upd - n_tup_hot_upd) * indexes.how_many)::bigint AS entries "
        "FROM pg_stat_user_tables CROSS JOIN LATERAL ("
        "SELECT count(*) AS how_many FROM pg_index WHERE indrelid = relid"
        " AND pg_get_expr(indpred, indrelid) IS DISTINCT FROM '(reference IS NOT NULL)'"
        " AND indexrelid <> ALL"
        "('{idempotency_keys_user_id_idx, outbox_names_idx}'::regclass[])"
        ") AS indexes"
    )
    return [row["rows"], row["entries"]]


async def count_read(connection: Connection) -> int:
    """Return how many rows and index entries have been read, since ever."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    read: int = await connection.fetchval(
        "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)::bigint"
        " + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)::bigint"
    )
    return read


@pytest.mark.parametrize("name", CASES)
async def test_command__its_cost_in_statements_rows_and_index_entries__is_known(
    name: str, database_url: str, connection: Connection, catalogue: dict[str, int]
) -> None:
    lane_type, execute, make, cost = CASES[name]
    statements: list[str] = []

    def note(record: asyncpg.connection.LoggedQuery) -> None:
        statements.append(record.query)

    async def run(lane: WriteLane[Any, Any], numbers: Sequence[int]) -> None:
        waiting = [make(number) for number in numbers]
        outcomes = await asyncio.gather(*map(lane.submit, waiting))
        assert not any(isinstance(outcome, Exception) for outcome in outcomes)
        async with database.connection() as own:
            await own.execute("SELECT pg_stat_force_next_flush()")

    # Two connections: one of them for batches.
    settings = Settings().changed(pool_connections=2)
    async with Database(database_url, settings.database) as database:
        await arrange(database, connection)
        lane = lane_type("test", database, execute, settings.batches)
        for number in range(WARM_UP):
            await run(lane, range(number * BATCH + 1, (number + 1) * BATCH + 1))
        before = await count_written(connection)
        async with database.connection() as own:
            own.add_query_logger(note)
        await run(lane, range(WARM_UP * BATCH + 1, (WARM_UP + 1) * BATCH + 1))
        after = await count_written(connection)
    assert statements.pop() == "SELECT pg_stat_force_next_flush()"
    rows, entries = ((new - old) / BATCH for old, new in zip(before, after, strict=True))
    assert Cost(len(statements), rows, entries) == cost, "\n".join(
        statement.partition("\n")[0] for statement in statements
    )


MANY = 20_000


@pytest.mark.parametrize("name", CASES)
async def test_command__planned_while_tables_were_small__reads_no_more_once_they_are_large(
    name: str,
    database_url: str,
    connection: Connection,
    catalogue: dict[str, int],
    generic_plans: None,
) -> None:
    lane_type, execute, make, _ = CASES[name]
    settings = Settings().changed(pool_connections=2)
    async with Database(database_url, settings.database) as database:
        await arrange(database, connection)
        await connection.execute("ANALYZE")
        lane = lane_type("test", database, execute, settings.batches)
        await lane.submit(make(1))
        await connection.execute(
            "INSERT INTO users (username) SELECT 'more-' || n FROM generate_series(1, $1) AS n",
            MANY,
        )
        await connection.execute(
            "INSERT INTO invoices (user_id, amount, label) "
            "SELECT 1, 5, 'Work' FROM generate_series(1, $1)",
            MANY,
        )
        await connection.execute(
            "INSERT INTO orders (user_id, amount, status) "
            "SELECT 1, 5, 'pending' FROM generate_series(1, $1)",
            MANY,
        )
        await connection.execute(
            "INSERT INTO order_items (order_id, product_id, quantity, price) "
            "SELECT id, 1, 1, 5 FROM orders WHERE id > $1 AND id < $2",
            MOST,
            FIRST_APPROVED,
        )
        await connection.execute(
            "INSERT INTO owned_products (user_id, product_id) "
            "SELECT id, 2 FROM users WHERE id > $1",
            MOST,
        )
        await connection.execute(
            "INSERT INTO refunds (order_id, user_id, amount) "
            "SELECT $1 + 3, 1, 0 FROM generate_series(1, $2)",
            FIRST_BENEFIT,
            MANY,
        )
        before = await count_read(connection)
        await lane.submit(make(2))
        async with database.connection() as own:
            await own.execute("SELECT pg_stat_force_next_flush()")
        assert await count_read(connection) - before < MANY
