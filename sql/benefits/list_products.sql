-- Purpose: read the catalogue, which both the benefits shop and the orders API sell
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, slug text, name text, price bigint; one per product
-- Index:   products_pkey
SELECT
    id,
    slug,
    name,
    price
FROM products
ORDER BY id
