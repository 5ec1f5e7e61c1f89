-- refunds/find_given_back: find which of the orders that cost nothing have been refunded
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none new; the caller holds orders/lock_orders, so the answer stays true
-- Rows:    order_id bigint; one per order found
-- Index:   refunds_order_id_idx
SELECT DISTINCT order_id
FROM refunds
WHERE order_id = any($1::bigint[])
