-- catalogue/change_products: write products anew, as decided by catalogue.rules
-- Params:  $1 product_ids bigint[]        unique
--          $2 names text[]                same length
--          $3 prices bigint[]             minor units, same length
--          $4 retired_ats timestamptz?[]  same length; null: it can be ordered
-- Locks:   none new; the caller holds catalogue/lock_products
-- Rows:    none
-- Index:   products_pkey
UPDATE products
SET
    name = new.name,
    price = new.price,
    retired_at = new.retired_at
FROM
    unnest($1::bigint[], $2::text[], $3::bigint[], $4::timestamptz[])
        AS new (id, name, price, retired_at)
WHERE products.id = new.id
