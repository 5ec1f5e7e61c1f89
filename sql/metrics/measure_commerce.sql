-- metrics/measure_commerce: measure what waits for the commerce service's own tasks, at a bounded
--     cost however much it is
-- Params:  $1 counted bigint   rows of a kind that are counted at most
-- Locks:   none
-- Rows:    orders_pending bigint; one
-- Index:   orders_pending_idx
WITH pending AS (
    SELECT orders.id
    FROM orders
    WHERE orders.status = 'pending'
    ORDER BY orders.id
    LIMIT $1
)

SELECT count(*) AS orders_pending
FROM pending
