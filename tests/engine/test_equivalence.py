"""The outcome of a batch equals running its commands one at a time, in arrival order."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.benefits.rules import PlacedOrder, PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.database import Connection as AnyConnection
from rowlock.engine.database import Database
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.orders.rules import CreatedOrder, CreateOrder, Item
from rowlock.orders.transactions import create_orders
from rowlock.origin import Origin
from tests.support.databases import Databases
from tests.support.equivalence import Feature, History, assert_batches_equal_one_at_a_time
from tests.support.money import MONEY, assert_money_conserved
from tests.support.types import Connection

# Few of each, so that commands meet: the same users, products, invoices, and empty purses.
usernames = st.sampled_from(["ada", "grace", "edsger", "nobody"])
slugs = st.sampled_from(["netflix", "spotify", "gym", "unknown"])
origins = st.builds(
    Origin, st.sampled_from(["r-1", "r-2"]), st.sampled_from(["token", "project:1"])
)
# 1 and 2 are the first two users in any run; further ids depend on conflicts.
user_ids = st.sampled_from([1, 2, 999])
commands: dict[type, st.SearchStrategy[Any]] = {
    CreateUser: st.builds(
        CreateUser, usernames.filter("nobody".__ne__), st.integers(0, 20_000), origins
    ),
    PlaceOrder: st.builds(
        PlaceOrder, usernames, st.lists(slugs, min_size=1, max_size=3).map(tuple), origins
    ),
    CreateOrder: st.builds(
        CreateOrder,
        st.none() | user_ids,
        st.lists(st.builds(Item, st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3).map(
            tuple
        ),
        origins,
    ),
    CreateInvoice: st.builds(
        CreateInvoice, user_ids, st.integers(1, 9_000), st.just("Work"), origins
    ),
    PayInvoice: st.builds(PayInvoice, st.integers(1, 8), origins),
}
batches = st.sampled_from(list(commands)).flatmap(
    lambda kind: st.lists(commands[kind], min_size=1, max_size=12)
)
# Every history starts with users, so that the rest has something to work on.
histories: st.SearchStrategy[History] = st.lists(batches, min_size=1, max_size=8).map(
    lambda rest: [[CreateUser("ada", 15_000), CreateUser("edsger", 900)], *rest]
)


async def add_products(_database: Database, connection: Connection) -> None:
    await connection.executemany(
        "INSERT INTO products (slug, name, price) VALUES ($1, $1, $2)",
        [("netflix", 7599), ("spotify", 4599), ("gym", 0)],
    )


async def check_money(connection: Connection, _history: History, _outcomes: list[Any]) -> None:
    await assert_money_conserved(connection)


def comparable(outcome: Any) -> Any:
    """Return what must be equal: not times, and not user ids, as conflicts use up some."""
    match outcome:
        case PlacedOrder(order_id, _, purchase):
            return order_id, purchase.account.username, purchase.products, purchase.balance_after
        case Invoice():
            return outcome.id, outcome.amount, outcome.status, outcome.paid_at is not None
        case bool() | CreatedOrder():
            return outcome
    return type(outcome)


FEATURE = Feature(
    executors={
        CreateUser: create_users,
        PlaceOrder: place_orders,
        CreateOrder: create_orders,
        CreateInvoice: create_invoices,
        PayInvoice: pay_invoices,
    },
    comparable=comparable,
    state=MONEY,
    arrange=add_products,
    check=check_money,
)


def test_batches__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    assert_batches_equal_one_at_a_time(main_databases, FEATURE, histories, examples=20)


async def tell_size(_connection: AnyConnection, commands: Sequence[int]) -> list[int]:
    return [len(commands)] * len(commands)


def test_batches__their_size_matters__found(main_databases: Databases) -> None:
    feature = Feature(executors={int: tell_size}, comparable=lambda size: size, state={})
    sizes: st.SearchStrategy[History] = st.lists(st.lists(st.integers(), max_size=3), max_size=3)
    with pytest.raises(AssertionError, match="together"):
        assert_batches_equal_one_at_a_time(main_databases, feature, sizes, examples=15)
