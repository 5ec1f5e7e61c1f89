-- orders/find_still_pending: find which of these orders are pending, by user
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none; orders/lock_pending claims them
-- Rows:    user_id bigint?, due boolean, order_ids bigint[]; two per user at most, and two with
--          null for those without: orders that are due, and others; ids in order
-- Index:   orders_pending_idx
SELECT
    user_id,
    (next_attempt_at IS NULL OR next_attempt_at <= now()) AS due,
    array_agg(id ORDER BY id) AS order_ids
FROM orders
WHERE id = any($1::bigint[]) AND status = 'pending'
GROUP BY user_id, due
