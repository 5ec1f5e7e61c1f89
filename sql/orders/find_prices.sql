-- orders/find_prices: read the prices of the products that a batch of orders names
-- Params:  $1 product_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, price bigint; one per product found
-- Index:   products_pkey
SELECT
    id,
    price
FROM products
WHERE id = any($1::bigint[])
