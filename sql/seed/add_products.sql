-- seed/add_products: put products into the catalogue, leaving those that are there as they are
-- Params:  $1 slugs text[]      unique
--          $2 names text[]      same length
--          $3 prices bigint[]   minor units, same length
-- Locks:   none
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO products (slug, name, price)
SELECT
    new.slug,
    new.name,
    new.price
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (slug, name, price)
ON CONFLICT (slug) DO NOTHING
