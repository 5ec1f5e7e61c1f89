"""What a command costs the database, in counts that no machine changes.

A batch costs the same number of statements whatever its size: each is a round trip, for which all
its commands wait. A row costs an entry in each index of its table, unless it is a heap-only update.
A change that raises a number here makes every request of its kind dearer: find another way, or say
in the commit why it is worth it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
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
from rowlock.invoices.rules import CreateInvoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.orders.rules import CreateOrder, Item, SettleOrder
from rowlock.orders.transactions import create_orders, settle_orders
from rowlock.service_orders import rules as service_orders
from rowlock.service_orders.transactions import change_orders
from rowlock.settings import Settings
from tests.support.types import Connection

BATCH = 10  # commands
WARM_UP = 2  # batches: statements are prepared, and rows are there whose updates are heap-only
TIME = datetime(2100, 1, 1, tzinfo=UTC)


class Cost(NamedTuple):
    """What a command costs."""

    statements: int  # of its batch, with BEGIN and COMMIT
    rows: float  # inserted or updated, for each command
    index_entries: float  # for each command, as if partial indexes had all rows


def keyed(make: Callable[[int], Any]) -> Callable[[int], Any]:
    def make_once(number: int) -> Once[Any, Any]:
        digest = hashlib.sha256(str(number).encode()).digest()
        key = IdempotencyKey("commerce", str(number))
        answer = KeptAnswer(200, "{}", b"")
        return Once(make(number), key, Digest(digest, digest), lambda _: answer)

    return make_once


# Commands have numbers from 1: users, invoices and orders of these ids are there.
def place(number: int) -> PlaceOrder:
    return PlaceOrder(f"user-{number}", ("netflix",))


def book(number: int) -> service_orders.CreateOrder:
    return service_orders.CreateOrder(TIME + number * timedelta(hours=4), 100, (1,))


settle = partial(settle_orders, approval_rate=0.5)
Case = tuple[type[WriteLane[Any, Any]], Callable[..., Any], Callable[[int], Any], Cost]
CASES: dict[str, Case] = {
    "benefit order": (LockingLane, place_orders, place, Cost(5, 6, 9)),
    "benefit order, with a key": (LockingLane, place_orders, keyed(place), Cost(7, 7, 11)),
    "invoice": (WriteLane, create_invoices, lambda _: CreateInvoice(1, 5, "Work"), Cost(4, 2, 4)),
    "payment": (LockingLane, pay_invoices, PayInvoice, Cost(5, 4, 6)),
    "order of two items": (
        WriteLane,
        create_orders,
        lambda number: CreateOrder(number, (Item(1, 1), Item(2, 1))),
        Cost(4, 4, 7),
    ),
    "settlement": (WriteLane, settle, lambda number: SettleOrder(number, 0.0), Cost(5, 4, 7)),
    "booking": (WriteLane, change_orders, book, Cost(7, 3, 5)),
}


async def arrange(database: Database, connection: Connection, most: int) -> None:
    async with database.transaction() as batch:
        await create_users(batch, [CreateUser(f"user-{n}", 90_000) for n in range(1, most + 1)])
        await create_invoices(batch, [CreateInvoice(n, 5, "Work") for n in range(1, most + 1)])
    async with database.transaction() as batch:
        await create_orders(batch, [CreateOrder(n, (Item(1, 1),)) for n in range(1, most + 1)])
    await connection.execute("INSERT INTO services (id, name) VALUES (1, 'Inspection')")


async def count_written(connection: Connection) -> list[int]:
    """Return how many rows and index entries have been written, since ever."""
    [row] = await connection.fetch(
        "SELECT sum(n_tup_ins + n_tup_upd)::bigint AS rows,"
        " sum((n_tup_ins + n_tup_upd - n_tup_hot_upd) * indexes.how_many)::bigint AS entries "
        "FROM pg_stat_user_tables CROSS JOIN LATERAL ("
        "SELECT count(*) AS how_many FROM pg_index WHERE indrelid = relid) AS indexes"
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
        await arrange(database, connection, BATCH * (WARM_UP + 1))
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


FEW, MANY = 40, 20_000


@pytest.fixture
async def generic_plans(connection: Connection) -> AsyncIterator[None]:
    """Plan as PostgreSQL does after some executions, and then for as long as a session lasts."""
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {name} SET plan_cache_mode = force_generic_plan")
    yield
    await connection.execute(f"ALTER DATABASE {name} RESET plan_cache_mode")


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
        await arrange(database, connection, FEW)
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
        before = await count_read(connection)
        await lane.submit(make(2))
        async with database.connection() as own:
            await own.execute("SELECT pg_stat_force_next_flush()")
        assert await count_read(connection) - before < MANY
