-- accounts/lock_free_users_by_name: lock those accounts, known by their usernames, that no
--     other transaction has locked
-- Params:  $1 usernames text[]   unique
-- Locks:   users rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id
-- Rows:    id bigint, username text, balance bigint; one per user found free
-- Index:   users_username_key
SELECT
    id,
    username,
    balance
FROM users
WHERE username = any($1::text[])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
