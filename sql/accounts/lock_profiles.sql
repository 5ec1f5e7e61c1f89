-- accounts/lock_profiles: lock users whose first or last names a batch changes, and no address,
--     and read them
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   users rows FOR NO KEY UPDATE, in the order of id; foreign keys don't wait
-- Rows:    id bigint, username text, email text?, email_key text?, first_name text,
--          last_name text, balance bigint, created_at timestamptz, anonymised_at timestamptz?,
--          now timestamptz; one per user found
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
FOR NO KEY UPDATE
