-- catalogue/lock_products: lock the products that a batch will change, and read them
-- Params:  $1 product_ids bigint[]   unique
-- Locks:   products rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, slug text, name text, price bigint, created_at timestamptz?,
--          retired_at timestamptz?, locked_at timestamptz; one per product found. The last one is
--          when its lock was had
-- Index:   products_pkey
WITH locked AS MATERIALIZED (
    SELECT
        id,
        slug,
        name,
        price,
        created_at,
        retired_at
    FROM products
    WHERE id = any($1::bigint[])
    ORDER BY id
    FOR NO KEY UPDATE
)

SELECT
    locked.*,
    -- Not the time of the statement, which may have waited: changes of a row are in order of time.
    clock_timestamp() AS locked_at
FROM locked
