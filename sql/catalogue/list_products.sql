-- catalogue/list_products: read a page of products, newest first
-- Params:  $1 are_live integer[]   unique: 1 for those that can be had, 0 for retired ones
--          $2 before bigint        only products with a lower id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, slug text, name text, price bigint, created_at timestamptz?,
--          retired_at timestamptz?; page_size at most
-- Index:   products_is_live_idx, products_pkey
WITH newest AS (
    -- A page of each kind, whose entries are next to each other in the index.
    SELECT
        unnest(
            array(
                SELECT products.id
                FROM products
                WHERE (products.retired_at IS NULL)::int = wanted.is_live AND products.id < $2
                ORDER BY products.id DESC
                LIMIT $3
            )
        ) AS id
    FROM unnest($1::integer[]) AS wanted (is_live)
    ORDER BY id DESC
    LIMIT $3
)

SELECT
    products.id,
    products.slug,
    products.name,
    products.price,
    products.created_at,
    products.retired_at
FROM products
INNER JOIN newest ON products.id = newest.id
ORDER BY products.id DESC
