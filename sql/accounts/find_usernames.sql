-- accounts/find_usernames: tell which accounts exist
-- Params:  $1 usernames text[]   unique
-- Locks:   none
-- Rows:    username text; one per user found
-- Index:   users_username_key
SELECT username
FROM users
WHERE username = any($1::text[])
