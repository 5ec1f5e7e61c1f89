-- orders/list_pending_orders: read a page of the ids of pending orders, newest first
-- Params:  $1 before bigint      only orders with a lower id
--          $2 page_size bigint
-- Locks:   none
-- Rows:    id bigint; page_size at most
-- Index:   orders_pending_idx
SELECT id
FROM orders
WHERE status = 'pending' AND id < $1
ORDER BY id DESC
LIMIT $2
