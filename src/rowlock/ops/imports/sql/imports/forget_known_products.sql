-- imports/forget_known_products: leave out the staged products that are there already, by slug
-- Params:  none
-- Locks:   none, the rows removed are this session's alone
-- Rows:    forgotten bigint; one
-- Index:   products_slug_key
WITH forgotten AS (
    DELETE FROM import_products
    USING products
    WHERE import_products.slug = products.slug
    RETURNING import_products.ordinal
)

SELECT count(*) AS forgotten
FROM forgotten
