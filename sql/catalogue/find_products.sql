-- catalogue/find_products: read products by id, retired ones included
-- Params:  $1 product_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, slug text, name text, price bigint, created_at timestamptz?,
--          retired_at timestamptz?; one per product found
-- Index:   products_pkey
SELECT
    id,
    slug,
    name,
    price,
    created_at,
    retired_at
FROM products
WHERE id = any($1::bigint[])
