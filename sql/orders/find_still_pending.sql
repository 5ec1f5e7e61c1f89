-- orders/find_still_pending: find which of these orders are pending, those of one user next to each
--     other
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none; orders/lock_pending claims them
-- Rows:    id bigint, due boolean; one per pending order, by user, then by id
-- Index:   orders_pending_idx
SELECT
    id,
    (next_attempt_at IS NULL OR next_attempt_at <= now()) AS due
FROM orders
WHERE id = any($1::bigint[]) AND status = 'pending'
ORDER BY user_id, id
