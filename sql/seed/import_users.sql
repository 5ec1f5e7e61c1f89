-- seed/import_users: add users with the ids they had elsewhere; their balances are 0
-- Params:  $1 user_ids bigint[]           unique
--          $2 usernames text[]            same length, unique
--          $3 emails text[]               same length, unique
--          $4 created_ats timestamptz[]   same length
-- Locks:   the new rows
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO users (id, username, email, created_at)
SELECT
    imported.id,
    imported.username,
    imported.email,
    imported.created_at
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[])
    AS imported (id, username, email, created_at)
