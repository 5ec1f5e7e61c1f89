-- doctor/compare_items: audit orders against their items, which add up to the amount
-- Params:  $1 after bigint       only orders with a higher id
--          $2 upto bigint        only orders up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, amount bigint, items_total numeric; one per difference
-- Index:   orders_pkey, order_items_pkey
SELECT
    orders.id,
    orders.amount,
    coalesce(sum(item.price::numeric * item.quantity), 0) AS items_total
FROM orders
LEFT JOIN order_items AS item ON orders.id = item.order_id
WHERE orders.id > $1 AND orders.id <= $2
GROUP BY orders.id
HAVING orders.amount <> coalesce(sum(item.price::numeric * item.quantity), 0)
ORDER BY orders.id
LIMIT $3
