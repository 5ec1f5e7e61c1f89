-- Purpose: lock the accounts that a batch will change, and read their balances
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   users rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, username text, balance bigint; one per user found
-- Index:   users_pkey
SELECT
    id,
    username,
    balance
FROM users
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE
