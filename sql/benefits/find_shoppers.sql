-- benefits/find_shoppers: read users of the benefits shop, with what they own
-- Params:  $1 usernames text[]   unique
-- Locks:   none
-- Rows:    username text, balance bigint, product_ids text[]; one per user found
-- Index:   users_username_key, owned_products_pkey
SELECT
    users.username,
    users.balance,
    array(
        SELECT products.slug
        FROM owned_products
        INNER JOIN products ON owned_products.product_id = products.id
        WHERE owned_products.user_id = users.id
        ORDER BY products.id
    ) AS product_ids
FROM users
WHERE users.username = any($1::text[])
