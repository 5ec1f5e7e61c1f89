-- accounts/list_users: read a page of the users, newest first
-- Params:  $1 before bigint      only users with a lower id
--          $2 page_size bigint
-- Locks:   none
-- Rows:    id bigint, username text, email text?, first_name text, last_name text,
--          balance bigint, created_at timestamptz, anonymised_at timestamptz?;
--          page_size at most
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
WHERE id < $1
ORDER BY id DESC
LIMIT $2
