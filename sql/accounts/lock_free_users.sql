-- accounts/lock_free_users: lock those accounts that no other transaction has locked, and
--     read their balances
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   users rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id
-- Rows:    id bigint, username text, balance bigint; one per user found free
-- Index:   users_pkey
SELECT
    id,
    username,
    balance
FROM users
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
