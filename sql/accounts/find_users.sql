-- accounts/find_users: read accounts by id
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, first_name text, last_name text, balance bigint; one per user found
-- Index:   users_pkey
SELECT
    id,
    first_name,
    last_name,
    balance
FROM users
WHERE id = any($1::bigint[])
