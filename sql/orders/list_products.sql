-- orders/list_products: read the catalogue as the orders API shows it
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, name text, price bigint; one per product
-- Index:   products_pkey
SELECT
    id,
    name,
    price
FROM products
ORDER BY id
