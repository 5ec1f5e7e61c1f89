-- benefits/list_products: read the catalogue as the benefits shop shows it
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, slug text, name text, price bigint; one per product not retired
-- Index:   products_is_live_idx
SELECT
    id,
    slug,
    name,
    price
FROM products
WHERE (retired_at IS NULL)::int = 1
ORDER BY id
