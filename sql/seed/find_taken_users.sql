-- seed/find_taken_users: find the users that have the ids, names or addresses of users to be
--     imported
-- Params:  $1 user_ids bigint[]    unique
--          $2 usernames text[]     unique
--          $3 name_keys text[]     unique
--          $4 emails text[]        unique
--          $5 email_keys text[]    unique
-- Locks:   none
-- Rows:    id bigint, username text, name_key text?, email text?, email_key text?; one per user
--          found
-- Index:   users_pkey, users_username_key, users_name_key_idx, users_email_key,
--          users_email_key_idx
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE id = any($1::bigint[])
UNION
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE username = any($2::text[])
UNION
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE name_key = any($3::text[])
UNION
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE email = any($4::text[])
UNION
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE email_key = any($5::text[])
