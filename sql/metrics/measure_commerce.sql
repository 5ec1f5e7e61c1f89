-- metrics/measure_commerce: measure what waits for the commerce service's own tasks, at a bounded
--     cost however much it is
-- Params:  $1 counted bigint     rows of a kind that are counted at most
--          $2 floor bigint       orders with this id or a lower one are pending only if in left_ids
--          $3 left_ids bigint[]
-- Locks:   none
-- Rows:    orders_pending bigint, orders_age_s float8; one
-- Index:   orders_pending_idx
WITH above AS (
    SELECT orders.created_at
    FROM orders
    WHERE orders.status = 'pending' AND orders.id > $2
    ORDER BY orders.id
    LIMIT $1
),

pending AS (
    SELECT above.created_at
    FROM above
    UNION ALL
    SELECT orders.created_at
    FROM orders
    WHERE orders.status = 'pending' AND orders.id = any($3::bigint[]) AND orders.id <= $2
)

SELECT
    count(*) AS orders_pending,
    coalesce(extract(EPOCH FROM now() - min(pending.created_at)), 0)::double precision
        AS orders_age_s
FROM pending
