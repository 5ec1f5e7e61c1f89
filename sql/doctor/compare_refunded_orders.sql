-- doctor/compare_refunded_orders: audit what orders say was refunded: the total of their refunds,
--     all to the order's user
-- Params:  $1 after bigint       only orders with a higher id
--          $2 upto bigint        only orders up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, refunded bigint, refunds_total numeric, strangers bigint; one per difference.
--          The last is how many of the refunds went to another user
-- Index:   orders_pkey, refunds_order_id_idx
WITH refund AS (
    SELECT
        order_id,
        user_id,
        amount
    FROM refunds
    WHERE order_id > $1 AND order_id <= $2
)

SELECT
    orders.id,
    orders.refunded,
    coalesce(sum(refund.amount), 0) AS refunds_total,
    count(*) FILTER (WHERE refund.user_id <> orders.user_id) AS strangers
FROM orders
LEFT JOIN refund ON orders.id = refund.order_id
WHERE orders.id > $1 AND orders.id <= $2
GROUP BY orders.id
HAVING
    orders.refunded <> coalesce(sum(refund.amount), 0)
    OR count(*) FILTER (WHERE refund.user_id <> orders.user_id) > 0
ORDER BY orders.id
LIMIT $3
