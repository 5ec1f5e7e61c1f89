-- accounts/create_users: open accounts; the balance follows by accounts/post_entries
-- Params:  $1 usernames text[]   unique
-- Locks:   the new rows; a name that another transaction is creating is waited for
-- Rows:    id bigint, username text; one per user that did not exist
-- Index:   none, rows are only added
INSERT INTO users (username)
SELECT new.username
FROM unnest($1::text[]) AS new (username)
ORDER BY new.username
ON CONFLICT (username) DO NOTHING
RETURNING id, username
