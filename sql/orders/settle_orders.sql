-- orders/settle_orders: approve or refuse orders, as decided by orders.rules
-- Params:  $1 order_ids bigint[]   unique
--          $2 statuses text[]      same length
--          $3 reasons text?[]      same length; null for an approved one
-- Locks:   none new; the caller holds orders/lock_pending
-- Rows:    none
-- Index:   orders_pkey
UPDATE orders
SET
    status = settled.status,
    reason = settled.reason,
    settled_at = now()
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS settled (order_id, status, reason)
WHERE orders.id = settled.order_id
