-- orders/list_products: read the catalogue as the orders API shows it
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, name text, price bigint; one per product not retired
-- Index:   products_is_live_idx
SELECT
    id,
    name,
    price
FROM products
WHERE (retired_at IS NULL)::int = 1
ORDER BY id
