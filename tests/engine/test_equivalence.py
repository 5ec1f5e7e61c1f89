"""The outcome of a batch equals running its commands one at a time, in arrival order."""

import asyncio
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowlock.accounts.transactions import create_users
from rowlock.accounts.rules import CreateUser
from rowlock.engine.lanes import group_commit
from rowlock.benefits.transactions import PlacedOrder, place_orders
from rowlock.benefits.rules import PlaceOrder
from rowlock.engine.database import Database
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice
from rowlock.settings import Settings
from tests.databases import Databases

EXECUTORS = {
    CreateUser: create_users,
    PlaceOrder: place_orders,
    CreateInvoice: create_invoices,
    PayInvoice: pay_invoices,
}

# Few of each, so that commands meet: the same users, products, invoices, and empty purses.
usernames = st.sampled_from(["ada", "grace", "edsger", "nobody"])
slugs = st.sampled_from(["netflix", "spotify", "gym", "unknown"])
request_ids = st.sampled_from(["r-1", "r-2", "r-3"])
commands = {
    CreateUser: st.builds(
        CreateUser, usernames.filter("nobody".__ne__), st.integers(0, 20_000), request_ids
    ),
    PlaceOrder: st.builds(
        PlaceOrder, usernames, st.lists(slugs, min_size=1, max_size=3).map(tuple), request_ids
    ),
    CreateInvoice: st.builds(
        # 1 and 2 are the first two users in any run; further ids depend on conflicts.
        CreateInvoice,
        st.sampled_from([1, 2, 999]),
        st.integers(1, 9_000),
        st.just("Work"),
        request_ids,
    ),
    PayInvoice: st.builds(PayInvoice, st.integers(1, 8), request_ids),
}
batches = st.sampled_from(list(commands)).flatmap(
    lambda kind: st.lists(commands[kind], min_size=1, max_size=12)
)
# Every history starts with users, so that the rest has something to work on.
histories = st.lists(batches, min_size=1, max_size=8).map(
    lambda rest: [[CreateUser("ada", 15_000), CreateUser("edsger", 900)], *rest]
)


def test_batches__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(histories)
    def holds(history: list[list[Any]]) -> None:
        together = asyncio.run(run(main_databases, history, one_at_a_time=False))
        apart = asyncio.run(run(main_databases, history, one_at_a_time=True))
        assert together == apart

    holds()


async def run(
    databases: Databases, history: list[list[Any]], *, one_at_a_time: bool
) -> tuple[list[Any], dict[str, Any]]:
    """Return the outcomes and the final state of `history` on a fresh database."""
    with databases.lent() as url:
        limits = Settings(batch_items=1) if one_at_a_time else Settings()
        async with Database(url, limits) as database, database.connection() as connection:
            await connection.executemany(
                "INSERT INTO products (slug, name, price) VALUES ($1, $1, $2)",
                [("netflix", 7599), ("spotify", 4599), ("gym", 0)],
            )
            outcomes = []
            for batch in history:
                lane = group_commit("test", database, EXECUTORS[type(batch[0])], limits)
                outcomes += await asyncio.gather(*map(lane.submit, batch))
            await assert_money_conserved(connection)
            return [comparable(outcome) for outcome in outcomes], await state(connection)


def comparable(outcome: Any) -> Any:
    """Return what must be equal: not times, and not user ids, as conflicts use up some."""
    match outcome:
        case PlacedOrder(order_id, purchase):
            return order_id, purchase.account.username, purchase.products, purchase.balance_after
        case Invoice():
            return outcome.id, outcome.amount, outcome.status, outcome.paid_at is not None
        case bool():
            return outcome
    return type(outcome)


async def state(connection: asyncpg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the tables hold, by usernames."""
    statements = {
        "users": "SELECT username, balance FROM users ORDER BY username",
        "ledger": """
            SELECT username, amount, balance_after, reason,
                CASE WHEN reason = 'opening_balance' THEN 'user' ELSE reference END
            FROM ledger_entries JOIN users ON users.id = user_id
            ORDER BY username, ledger_entries.id""",
        "orders": """
            SELECT orders.id, username, status, amount, request_id,
                array_agg(slug ORDER BY order_items.id)
            FROM orders JOIN users ON users.id = user_id
            JOIN order_items ON order_id = orders.id JOIN products ON products.id = product_id
            GROUP BY orders.id, username ORDER BY orders.id""",
        "owned": """
            SELECT username, slug FROM owned_products
            JOIN users ON users.id = user_id JOIN products ON products.id = product_id
            ORDER BY 1, 2""",
        "invoices": """
            SELECT invoices.id, username, amount, status
            FROM invoices JOIN users ON users.id = user_id ORDER BY invoices.id""",
        # User events come sorted by name within a batch; all others in the order of arrival.
        "events": """
            SELECT name, CASE WHEN name = 'user.created' THEN payload->>'username' ELSE subject END,
                payload->>'balance_after', request_id
            FROM outbox ORDER BY name = 'user.created',
                CASE WHEN name = 'user.created' THEN payload->>'username' END, xid, position""",
    }
    return {
        name: [tuple(row) for row in await connection.fetch(statement)]
        for name, statement in statements.items()
    }


async def assert_money_conserved(connection: asyncpg.Connection) -> None:
    """Every balance is its ledger's sum, and each entry follows from the one before it."""
    assert not await connection.fetch(
        """
        SELECT users.id FROM users LEFT JOIN ledger_entries ON users.id = user_id
        GROUP BY users.id HAVING balance <> coalesce(sum(amount), 0)"""
    )
    assert not await connection.fetch(
        """
        SELECT id FROM (
            SELECT id, balance_after, sum(amount) OVER (PARTITION BY user_id ORDER BY id) AS total
            FROM ledger_entries) AS entry
        WHERE total <> balance_after"""
    )
