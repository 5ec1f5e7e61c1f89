-- catalogue/create_products: add products whose slugs are free
-- Params:  $1 slugs text[]      unique
--          $2 names text[]      same length
--          $3 prices bigint[]   minor units, same length
-- Locks:   the new slugs: a second creator waits
-- Rows:    id bigint, slug text, created_at timestamptz; one per product added, none for a slug
--          that is taken
-- Index:   none, it only adds; ON CONFLICT looks at products_slug_key
INSERT INTO products (slug, name, price, created_at)
SELECT
    new.slug,
    new.name,
    new.price,
    statement_timestamp() AS created_at
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (slug, name, price)
-- Two transactions that add the same slugs wait for each other at most in one direction.
ORDER BY new.slug
ON CONFLICT (slug) DO NOTHING
RETURNING id, slug, created_at
