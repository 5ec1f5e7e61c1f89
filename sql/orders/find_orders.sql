-- orders/find_orders: read orders by id, with their items
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, user_id bigint?, status text, amount bigint, refunded bigint, reason text?,
--          reference text?, metadata jsonb?, created_at timestamptz, settled_at timestamptz?,
--          item_ids bigint[], product_ids bigint[], quantities integer[], prices bigint[];
--          one per order found
-- Index:   orders_pkey, order_items_pkey
SELECT
    orders.id,
    orders.user_id,
    orders.status,
    orders.amount,
    orders.refunded,
    orders.reason,
    orders.reference,
    orders.metadata,
    orders.created_at,
    orders.settled_at,
    array_agg(items.id ORDER BY items.id) AS item_ids,
    array_agg(items.product_id ORDER BY items.id) AS product_ids,
    array_agg(items.quantity ORDER BY items.id) AS quantities,
    array_agg(items.price ORDER BY items.id) AS prices
FROM orders
LEFT JOIN order_items AS items ON orders.id = items.order_id
WHERE orders.id = any($1::bigint[])
GROUP BY orders.id
