-- refunds/list_refunds: read a page of the refunds of an order, newest first
-- Params:  $1 order_id bigint
--          $2 before bigint      only refunds with a lower id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, order_id bigint, amount bigint, reference text?, metadata jsonb?,
--          created_at timestamptz; page_size at most
-- Index:   refunds_order_id_idx
SELECT
    id,
    order_id,
    amount,
    reference,
    metadata,
    created_at
FROM refunds
WHERE order_id = $1 AND id < $2
ORDER BY id DESC
LIMIT $3
