-- orders/find_pending: find orders that are due to be settled, by user
-- Params:  $1 after bigint         only orders with a higher id
--          $2 last bigint          and none with a higher one than this
--          $3 left_out bigint[]    none of these users; 0: none without a user
--          $4 page_size bigint
-- Locks:   none; orders/lock_pending claims them
-- Rows:    user_id bigint?, order_ids bigint[]; one per user, and one with null for those without:
--          page_size orders at most, the lowest ones; ids in order
-- Index:   orders_pending_idx
WITH due AS (
    SELECT
        id,
        user_id
    FROM orders
    WHERE
        status = 'pending'
        AND id > $1
        AND id <= $2
        AND (next_attempt_at IS NULL OR next_attempt_at <= now())
        AND coalesce(user_id, 0) <> all($3::bigint[])
    ORDER BY id
    LIMIT $4
)

SELECT
    user_id,
    array_agg(id ORDER BY id) AS order_ids
FROM due
GROUP BY user_id
