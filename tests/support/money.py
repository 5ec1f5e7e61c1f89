"""Accounts, what was paid from them, and whether money has only been moved."""

from tests.support.types import Connection

# What the tables hold, by usernames.
MONEY = {
    "users": "SELECT username, balance FROM users ORDER BY username",
    "ledger": """
        SELECT username, amount, balance_after, reason,
            CASE WHEN reason = 'opening_balance' THEN 'user' ELSE reference END AS reference,
            actor
        FROM ledger_entries JOIN users ON users.id = user_id
        ORDER BY username, ledger_entries.id""",
    "orders": """
        SELECT orders.id, username, status, amount, request_id,
            array_agg((slug, quantity, order_items.price)::text ORDER BY order_items.id) AS items
        FROM orders LEFT JOIN users ON users.id = user_id
        JOIN order_items ON order_id = orders.id JOIN products ON products.id = product_id
        GROUP BY orders.id, username ORDER BY orders.id""",
    "owned": """
        SELECT username, slug FROM owned_products
        JOIN users ON users.id = user_id JOIN products ON products.id = product_id
        ORDER BY username, slug""",
    "invoices": """
        SELECT invoices.id, username, amount, status
        FROM invoices JOIN users ON users.id = user_id ORDER BY invoices.id""",
    # User events come sorted by name within a batch; all others in the order of arrival.
    "events": """
        SELECT name, payload->>'balance_after' AS balance_after, request_id, actor,
            CASE WHEN name = 'user.created' THEN payload->>'username' ELSE subject END AS subject
        FROM outbox ORDER BY name = 'user.created',
            CASE WHEN name = 'user.created' THEN payload->>'username' END, xid, position""",
}


async def assert_money_conserved(connection: Connection) -> None:
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
