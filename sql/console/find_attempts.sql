-- console/find_attempts: tell how often settling an order has failed, and when it is tried again
-- Params:  $1 order_id bigint
-- Locks:   none
-- Rows:    attempts integer, next_attempt_at timestamptz?, request_id text?; one, or none
-- Index:   orders_pkey
SELECT
    attempts,
    next_attempt_at,
    request_id
FROM orders
WHERE id = $1
