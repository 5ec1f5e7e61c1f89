-- drill/list_orders: audit after a drill: every order
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, user_id bigint?, status text, amount bigint, refunded bigint,
--          reference text?; one per order
-- Index:   none, every row is read
SELECT
    id,
    user_id,
    status,
    amount,
    refunded,
    reference
FROM orders
