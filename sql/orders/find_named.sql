-- orders/find_named: read which of the users and products that a batch of orders names exist and
--     are not retired, and the prices
-- Params:  $1 product_ids bigint[]   unique
--          $2 user_ids bigint[]      unique
-- Locks:   none; users are never deleted
-- Rows:    product_ids bigint[], prices bigint[], user_ids bigint[]; one: the products found, their
--          prices in the same order, and the users found
-- Index:   products_pkey, users_pkey
WITH product AS (
    SELECT
        array_agg(id) AS ids,
        array_agg(price) AS prices
    FROM products
    WHERE id = any($1::bigint[]) AND retired_at IS NULL
)

SELECT
    coalesce(product.ids, '{}') AS product_ids,
    coalesce(product.prices, '{}') AS prices,
    array(
        SELECT users.id
        FROM users
        WHERE users.id = any($2::bigint[])
    ) AS user_ids
FROM product
