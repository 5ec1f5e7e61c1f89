-- orders/find_left: find the pending orders of a range of ids, due or not
-- Params:  $1 after bigint       only orders with a higher id
--          $2 last bigint        and none with a higher one than this
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint; page_size at most: the lowest ones, in order
-- Index:   orders_pending_idx
SELECT id
FROM orders
WHERE
    status = 'pending'
    AND id > $1
    AND id <= $2
ORDER BY id
LIMIT $3
