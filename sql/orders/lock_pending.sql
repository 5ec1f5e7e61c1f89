-- orders/lock_pending: claim those of the orders that are still due, leaving what others have
--     claimed
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   orders rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id
-- Rows:    id bigint, user_id bigint?, amount bigint, attempts integer, request_id text?,
--          traceparent text?, created_at timestamptz; one per order claimed
-- Index:   orders_pending_idx
SELECT
    id,
    user_id,
    amount,
    attempts,
    request_id,
    traceparent,
    created_at
FROM orders
WHERE
    id = any($1::bigint[])
    AND status = 'pending'
    AND (next_attempt_at IS NULL OR next_attempt_at <= now())
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
