-- orders/find_pending: find orders that are due to be settled, those of one user next to each other
-- Params:  $1 after bigint       only orders with a higher id
--          $2 last bigint        and none with a higher one than this
--          $3 page_size bigint
-- Locks:   none; orders/lock_pending claims them
-- Rows:    id bigint; page_size at most: the lowest ones, by user, then by id
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
    ORDER BY id
    LIMIT $3
)

SELECT id
FROM due
ORDER BY user_id, id
