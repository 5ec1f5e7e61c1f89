-- accounts/lock_free_profiles: lock those of the users that no other transaction has locked, to
--     change first or last names and no address, and read them
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   users rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id
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
FOR NO KEY UPDATE SKIP LOCKED
