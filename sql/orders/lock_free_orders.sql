-- orders/lock_free_orders: lock those orders that no other transaction has locked, and
--     read them
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   orders rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id
-- Rows:    id bigint, user_id bigint?, status text, amount bigint, refunded bigint,
--          created_at timestamptz, is_benefit boolean; one per order found free
-- Index:   orders_pkey, ledger_entries_document_key
SELECT
    id,
    user_id,
    status,
    amount,
    refunded,
    created_at,
    -- Of the benefits shop: its entry says so. One that cost nothing has none, but was settled as
    -- it was placed, which no other order is. Neither changes, whatever the lock has waited for.
    CASE
        WHEN user_id IS NULL OR status <> 'approved' THEN FALSE
        WHEN amount = 0 THEN settled_at = created_at
        ELSE coalesce(
            (
                SELECT entry.reason = 'benefit_order'
                FROM ledger_entries AS entry
                WHERE
                    entry.document_kind = 'order'
                    AND entry.document_id = orders.id
                    AND entry.user_id = orders.user_id
            ),
            FALSE
        )
    END AS is_benefit
FROM orders
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
