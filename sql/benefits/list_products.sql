-- benefits/list_products: read the catalogue as the benefits shop shows it
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
