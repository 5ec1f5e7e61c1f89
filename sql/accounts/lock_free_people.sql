-- accounts/lock_free_people: lock those of the users that no other transaction has locked, and read
--     their names and addresses
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   users rows FOR UPDATE SKIP LOCKED, in the order of id
-- Rows:    id bigint, username text, email text?, email_key text?, first_name text,
--          last_name text, balance bigint, created_at timestamptz, anonymised_at timestamptz?,
--          now timestamptz; one per user found free
-- Index:   users_pkey
SELECT
    id,
    username,
    email,
    email_key,
    first_name,
    last_name,
    balance,
    created_at,
    anonymised_at,
    statement_timestamp() AS now
FROM users
WHERE id = any($1::bigint[])
ORDER BY id
FOR UPDATE SKIP LOCKED
