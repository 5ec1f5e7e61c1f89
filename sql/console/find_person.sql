-- console/find_person: read a user with names and address
-- Params:  $1 user_id bigint
-- Locks:   none
-- Rows:    id bigint, username text, email text?, first_name text, last_name text,
--          balance bigint, created_at timestamptz, anonymised_at timestamptz?; one, or none
-- Index:   users_pkey
SELECT
    id,
    username,
    email,
    first_name,
    last_name,
    balance,
    created_at,
    anonymised_at
FROM users
WHERE id = $1
