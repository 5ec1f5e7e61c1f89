-- benefits/find_wanted: price what each buyer wants, and tell what they own already
-- Params:  $1 user_ids bigint[]   one per pair of a buyer and a product, all pairs different
--          $2 slugs text[]        same length
-- Locks:   none new; the caller holds accounts/lock_users_by_name, so the answer stays true
-- Rows:    user_id bigint, id bigint, slug text, price bigint, owned boolean;
--          one per pair whose product exists and is not retired
-- Index:   products_slug_key, owned_products_pkey
SELECT
    wanted.user_id,
    products.id,
    products.slug,
    products.price,
    -- Not a join: a plan made while the table was small would go on reading all of it.
    coalesce((
        SELECT TRUE
        FROM owned_products
        WHERE owned_products.user_id = wanted.user_id AND owned_products.product_id = products.id
    ), FALSE) AS owned
FROM unnest($1::bigint[], $2::text[]) AS wanted (user_id, slug)
INNER JOIN products ON wanted.slug = products.slug AND products.retired_at IS NULL
