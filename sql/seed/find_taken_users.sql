-- seed/find_taken_users: find the users that have the ids, names or addresses of users to be
--     imported
-- Params:  $1 user_ids bigint[]   unique
--          $2 usernames text[]    unique
--          $3 emails text[]       unique
-- Locks:   none
-- Rows:    id bigint, username text, email text?; one per user found
-- Index:   users_pkey, users_username_key, users_email_key
SELECT
    id,
    username,
    email
FROM users
WHERE id = any($1::bigint[])
UNION
SELECT
    id,
    username,
    email
FROM users
WHERE username = any($2::text[])
UNION
SELECT
    id,
    username,
    email
FROM users
WHERE email = any($3::text[])
