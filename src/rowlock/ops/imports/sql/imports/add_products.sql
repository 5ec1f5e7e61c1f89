-- imports/add_products: add a page of the staged products, with their events
-- Params:  $1 after bigint   ordinal
--          $2 upto bigint    ordinal
--          $3 actor text
-- Locks:   the new rows; a slug that another transaction is creating is waited for
-- Rows:    added bigint; one
-- Index:   none, the page is from a table of this session's
WITH page AS (
    SELECT *
    FROM import_products
    WHERE ordinal > $1 AND ordinal <= $2
    ORDER BY ordinal
),

added AS (
    INSERT INTO products (slug, name, price)
    SELECT
        slug,
        name,
        price
    FROM page
    RETURNING id, slug, name, price
),

told AS (
    INSERT INTO outbox (name, subject, payload, actor, created_at)
    SELECT
        'product.created' AS name,
        'product:' || id AS subject,
        jsonb_build_object(
            'product_id', id, 'slug', slug, 'name', name, 'price', price
        ) AS payload,
        $3 AS actor,
        statement_timestamp() AS created_at
    FROM added
)

SELECT count(*) AS added
FROM added
