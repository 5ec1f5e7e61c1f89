-- accounts/find_namesakes: read the users that have these names or addresses
-- Params:  $1 usernames text[]    unique
--          $2 name_keys text[]    unique
--          $3 emails text[]       unique
--          $4 email_keys text[]   unique
-- Locks:   none
-- Rows:    id bigint, username text, name_key text?, email text?, email_key text?; one per user and
--          way in which it was found
-- Index:   users_username_key, users_name_key_idx, users_email_key, users_email_key_idx
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE username = any($1::text[])
UNION ALL
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE name_key = any($2::text[])
UNION ALL
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE email = any($3::text[])
UNION ALL
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE email_key = any($4::text[])
