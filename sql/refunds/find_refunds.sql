-- refunds/find_refunds: read refunds by id
-- Params:  $1 refund_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, order_id bigint, amount bigint, reference text?, metadata jsonb?,
--          created_at timestamptz; one per refund found
-- Index:   refunds_pkey
SELECT
    id,
    order_id,
    amount,
    reference,
    metadata,
    created_at
FROM refunds
WHERE id = any($1::bigint[])
