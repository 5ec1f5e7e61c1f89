-- accounts/lock_users_by_name: lock the accounts that a batch will change, known by their usernames
-- Params:  $1 usernames text[]   unique
--          $2 name_keys text[]   unique; of those that may be spelt in another way
-- Locks:   users rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, username text, name_key text?, balance bigint; one per user found
-- Index:   users_username_key, users_name_key_idx
SELECT
    id,
    username,
    name_key,
    balance
FROM users
WHERE username = any($1::text[]) OR name_key = any($2::text[])
-- Not by id itself: planned while there are few users, this would go on to read all in that order.
ORDER BY id + 0
FOR NO KEY UPDATE
