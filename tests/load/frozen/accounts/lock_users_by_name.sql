-- Purpose: lock the accounts that a batch will change, known by their usernames
-- Params:  $1 usernames text[]   unique
-- Locks:   users rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, username text, balance bigint; one per user found
-- Index:   users_username_key
SELECT
    id,
    username,
    balance
FROM users
WHERE username = any($1::text[])
ORDER BY id
FOR NO KEY UPDATE
