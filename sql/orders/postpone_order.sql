-- orders/postpone_order: note that settling an order has failed, and when to try again
-- Params:  $1 order_id bigint
--          $2 delay interval
--          $3 failures integer   to count; 0 after a lock conflict
-- Locks:   none new; the caller holds orders/lock_pending
-- Rows:    none
-- Index:   orders_pkey
UPDATE orders
SET
    attempts = attempts + $3,
    next_attempt_at = now() + $2
WHERE id = $1
