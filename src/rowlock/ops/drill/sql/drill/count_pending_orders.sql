-- drill/count_pending_orders: audit after a drill: orders that are not settled yet
-- Params:  none
-- Locks:   none
-- Rows:    pending bigint; one
-- Index:   orders_pending_idx
SELECT count(*) AS pending
FROM orders
WHERE status = 'pending'
