-- console/find_usernames: read how users are called
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, username text; one per user found
-- Index:   users_pkey
SELECT
    id,
    username
FROM users
WHERE id = any($1::bigint[])
