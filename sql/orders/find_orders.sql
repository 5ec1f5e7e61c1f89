-- orders/find_orders: read orders by id, with their items
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, status text, amount bigint, reason text?, item_ids bigint[],
--          product_ids bigint[], quantities integer[]; one per order found
-- Index:   orders_pkey, order_items_pkey
SELECT
    orders.id,
    orders.status,
    orders.amount,
    orders.reason,
    array_agg(items.id ORDER BY items.id) AS item_ids,
    array_agg(items.product_id ORDER BY items.id) AS product_ids,
    array_agg(items.quantity ORDER BY items.id) AS quantities
FROM orders
LEFT JOIN order_items AS items ON orders.id = items.order_id
WHERE orders.id = any($1::bigint[])
GROUP BY orders.id
