-- orders/settle_orders: approve or refuse orders, as decided by orders.rules
-- Params:  $1 order_ids bigint[]   unique
--          $2 statuses text[]      same length
--          $3 reasons text?[]      same length; null for an approved one
-- Locks:   none new; the caller holds orders/lock_pending, and the users of approved orders
-- Rows:    id bigint, settled_at timestamptz; one per input but for an order that is refused and in
--          the ledger: now, but not before the last ledger entry of the order's user
-- Index:   orders_pkey, ledger_entries_pkey, ledger_entries_document_key
UPDATE orders
SET
    status = settled.status,
    reason = settled.reason,
    -- The transaction's now() may be older than what it has waited for.
    settled_at = greatest(
        statement_timestamp(),
        (
            SELECT last.created_at
            FROM ledger_entries AS last
            WHERE last.user_id = orders.user_id
            ORDER BY last.id DESC
            LIMIT 1
        )
    )
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS settled (order_id, status, reason)
WHERE
    orders.id = settled.order_id
    AND (
        settled.status = 'approved'
        -- Not a join, which would read the ledger for approved orders, too.
        OR (
            SELECT count(*) = 0
            FROM ledger_entries AS entry
            WHERE entry.document_kind = 'order' AND entry.document_id = orders.id
        )
    )
RETURNING orders.id, orders.settled_at
