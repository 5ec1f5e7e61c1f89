-- accounts/find_users_by_name: read which accounts names stand for
-- Params:  $1 usernames text[]   unique
--          $2 name_keys text[]   unique; of those that may be spelt in another way
-- Locks:   none
-- Rows:    id bigint, username text, name_key text?; one per user found
-- Index:   users_username_key, users_name_key_idx
SELECT
    id,
    username,
    name_key
FROM users
WHERE username = any($1::text[]) OR name_key = any($2::text[])
