-- benefits/find_shoppers: read users of the benefits shop, with what they own
-- Params:  $1 usernames text[]   unique
--          $2 name_keys text[]   unique; of those that may be spelt in another way
-- Locks:   none
-- Rows:    id bigint, username text, name_key text?, balance bigint, product_ids text[]; one per
--          user found
-- Index:   users_username_key, users_name_key_idx, owned_products_pkey
SELECT
    users.id,
    users.username,
    users.name_key,
    users.balance,
    array(
        SELECT products.slug
        FROM owned_products
        INNER JOIN products ON owned_products.product_id = products.id
        WHERE owned_products.user_id = users.id
        ORDER BY products.id
    ) AS product_ids
FROM users
WHERE users.username = any($1::text[]) OR users.name_key = any($2::text[])
