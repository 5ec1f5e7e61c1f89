-- drill/list_refunds: audit after a drill: every refund, and what committed it
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, order_id bigint, user_id bigint, amount bigint, reference text?,
--          transaction text; one per refund
-- Index:   none, every row is read
SELECT
    id,
    order_id,
    user_id,
    amount,
    reference,
    xmin::text AS transaction
FROM refunds
