-- accounts/find_key_owners: read the users whose names or addresses have these keys
-- Params:  $1 name_keys text[]    unique
--          $2 email_keys text[]   unique
-- Locks:   none
-- Rows:    id bigint, username text, name_key text?, email text?, email_key text?; one per user
--          found
-- Index:   users_name_key_idx, users_email_key_idx
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE name_key = any($1::text[])
UNION
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE email_key = any($2::text[])
