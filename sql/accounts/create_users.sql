-- accounts/create_users: open accounts; the balance follows by accounts/post_entries
-- Params:  $1 usernames text[]    unique
--          $2 name_keys text?[]   same length, unique; null: found by its exact spelling alone
-- Locks:   the new rows; a name that another transaction is creating, or one that is the same by
--          its key, is waited for
-- Rows:    id bigint, username text; one per user whose name no other user has
-- Index:   none, rows are only added
INSERT INTO users (username, name_key)
SELECT
    new.username,
    new.name_key
FROM unnest($1::text[], $2::text[]) AS new (username, name_key)
-- Two transactions that create the same names wait for each other at most in one direction.
ORDER BY new.name_key, new.username
ON CONFLICT DO NOTHING
RETURNING id, username
