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
        SELECT invoices.id, username, amount, status, invoices.reference, metadata
        FROM invoices JOIN users ON users.id = user_id ORDER BY invoices.id""",
    "transfers": """
        SELECT transfers.id, payer.username AS payer, payee.username AS payee, amount, label,
            reference, metadata
        FROM transfers JOIN users AS payer ON payer.id = from_user_id
        JOIN users AS payee ON payee.id = to_user_id ORDER BY transfers.id""",
    # User events come sorted by name within a batch; all others in the order of arrival.
    "events": """
        SELECT name, payload->>'balance_after' AS balance_after, request_id, actor,
            coalesce(username, subject) AS subject
        FROM outbox LEFT JOIN users ON name = 'user.created' AND subject = 'user:' || users.id
        ORDER BY name = 'user.created', username, xid, position""",
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


async def assert_documents_posted(connection: Connection) -> None:
    """Each paid invoice, reversal and transfer has its entries; the contra accounts follow."""
    assert not await connection.fetch(
        """
        WITH posting AS (
            SELECT 'invoice' AS kind, id, user_id, amount, paid_at AS at FROM invoices
            WHERE paid_at IS NOT NULL
            UNION ALL
            SELECT 'reversal', id, user_id, -amount, reversed_at FROM invoices
            WHERE reversed_at IS NOT NULL
            UNION ALL
            SELECT 'transfer', id, from_user_id, -amount, created_at FROM transfers
            UNION ALL
            SELECT 'transfer', id, to_user_id, amount, created_at FROM transfers
        )
        SELECT * FROM posting FULL JOIN (
            SELECT document_kind, document_id, user_id, amount, created_at FROM ledger_entries
            WHERE document_kind IN ('invoice', 'reversal', 'transfer')
        ) AS entry ON (kind, posting.id, posting.user_id, posting.amount, at)
            = (document_kind, document_id, entry.user_id, entry.amount, created_at)
        WHERE kind IS NULL OR document_kind IS NULL"""
    )
    assert not await connection.fetchval(
        "SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE contra = 'transfers'"
    )
