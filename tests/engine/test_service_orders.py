"""Batches of bookings: as if one at a time, and side by side with writers that ask nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import strategies as st

from rowlock.engine.database import Database
from rowlock.engine.lanes import Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.ops import seed
from rowlock.origin import Origin
from rowlock.rejections import Rejection, TooCloseToExistingOrder
from rowlock.service_orders.rules import (
    Change,
    Command,
    CreateOrder,
    DeleteOrder,
    ReplaceOrder,
)
from rowlock.service_orders.transactions import change_orders, import_orders
from rowlock.settings import Settings
from tests.support.databases import Databases
from tests.support.equivalence import (
    TRACES,
    Feature,
    History,
    assert_batches_equal_one_at_a_time,
)
from tests.support.polling import until
from tests.support.types import Connection

Bookings = Lane[Command, Change | Rejection]

SAMPLE_TIME = seed.SERVICE_ORDERS[0].starts_at

# Two days around the sample data, on the hour: orders meet all the time.
times = st.integers(-24, 24).map(lambda number: SAMPLE_TIME + timedelta(hours=number))
# The sample data, and those that a batch may just be creating: ids can be guessed.
order_ids = st.integers(223, 236)
service_ids = st.sampled_from([(123,), (456, 789), (7,)])
versions = st.sampled_from([None, None, frozenset({"1"}), frozenset({"2", "3"})])
origins = st.builds(
    Origin, st.sampled_from(["r-1", "r-2"]), st.sampled_from(["token", "project:1"]), TRACES
)
batches: st.SearchStrategy[list[Command]] = st.lists(
    st.one_of(
        st.builds(
            CreateOrder,
            times,
            st.just(100),
            service_ids,
            origins,
            st.sampled_from([None, None, 1, 2, 3, 4, 5, 8, 250]),
        ),
        st.builds(
            ReplaceOrder, order_ids, times, st.integers(0, 1), service_ids, versions, origins
        ),
        st.builds(DeleteOrder, order_ids, versions, origins),
    ),
    min_size=1,
    max_size=20,
)


def comparable(outcome: Change | Rejection) -> Any:
    if isinstance(outcome, Rejection):
        return type(outcome), outcome.details
    return outcome


async def load_samples(_database: Database, connection: Connection) -> None:
    """As `seed.demo` does, without what is not compared."""
    async with connection.transaction():
        await queries.seed.add_services(
            connection,
            service_ids=[service.id for service in seed.SERVICES],
            names=[service.name for service in seed.SERVICES],
        )
        await import_orders(connection, seed.SERVICE_ORDERS)
        await queries.seed.skip_service_ids(connection)


FEATURE = Feature(
    executors=dict.fromkeys((CreateOrder, ReplaceOrder, DeleteOrder), change_orders),
    comparable=comparable,
    state={
        "orders": "SELECT id, starts_at, fee, imported, version FROM service_orders ORDER BY id",
        "services": "SELECT order_id, service_id FROM service_order_services ORDER BY 1, 2",
        "events": """
            SELECT name, subject, payload, request_id, actor FROM outbox
            WHERE name ~ 'service' ORDER BY xid, position""",
    },
    arrange=load_samples,
)


def test_batches__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    histories: st.SearchStrategy[History] = st.lists(batches, min_size=1, max_size=4)
    assert_batches_equal_one_at_a_time(main_databases, FEATURE, histories, examples=25)


# --- Beside other writers ---------------------------------------------------------------------


@pytest.fixture
async def lane(database: Database, settings: Settings) -> Bookings:
    await seed.demo(database)
    return WriteLane("test", database, change_orders, settings.batches)


def noon(day: int) -> datetime:
    return datetime(2023, 5, day, 12, tzinfo=UTC)


def book(day: int) -> CreateOrder:
    return CreateOrder(noon(day), 100, (123,))


INSERT = "INSERT INTO service_orders (starts_at, fee) VALUES ($1, 0)"


@asynccontextmanager
async def blocked(
    connection: Connection, lane: Bookings, *commands: Command
) -> AsyncIterator[asyncio.Future[list[Any]]]:
    """Lend the outcomes of a batch that waits for what this connection has not committed."""
    async with asyncio.timeout(20):
        outcomes = asyncio.gather(*map(lane.submit, commands))
        await until(
            lambda: connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            )
        )
        yield outcomes
        await outcomes


async def test_someone_at_psql__commits_first__409_for_the_one_in_the_way_alone(
    lane: Bookings, connection: Connection
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(INSERT, noon(1) + timedelta(hours=1))
    async with blocked(connection, lane, book(1), book(2)) as outcomes:
        await transaction.commit()
    refused, booked = outcomes.result()
    assert isinstance(refused, TooCloseToExistingOrder)
    assert refused.details["order"]["datetime"] == "2023-05-01T13:00:00.000Z"
    assert isinstance(booked, Change)


async def test_someone_at_psql__rolls_back__all_are_booked(
    lane: Bookings, connection: Connection
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(INSERT, noon(1))
    async with blocked(connection, lane, book(1), book(2)) as outcomes:
        await transaction.rollback()
    assert all(isinstance(outcome, Change) for outcome in outcomes.result())


async def test_someone_at_psql__deadlock__one_of_the_two_is_refused_properly(
    lane: Bookings, connection: Connection
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(INSERT, noon(1))
    async with blocked(connection, lane, book(1), book(2)) as outcomes:
        try:
            await connection.execute(INSERT, noon(2))  # waits for the batch, which waits for us
            await transaction.commit()
            theirs = True
        except asyncpg.DeadlockDetectedError:
            await transaction.rollback()
            theirs = False
    expected = TooCloseToExistingOrder if theirs else Change
    assert [type(outcome) for outcome in outcomes.result()] == [expected, expected]
    assert await connection.fetchval("SELECT count(*) FROM service_orders") == 3 + 2
