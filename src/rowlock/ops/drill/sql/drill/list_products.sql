-- drill/list_products: audit after a drill: every product
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, price bigint, is_retired boolean; one per product
-- Index:   none, every row is read
SELECT
    id,
    price,
    retired_at IS NOT NULL AS is_retired
FROM products
