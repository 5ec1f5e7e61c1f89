-- seed/import_users: add users with the ids they had elsewhere; their balances are 0
-- Params:  $1 user_ids bigint[]           unique
--          $2 usernames text[]            same length, unique
--          $3 name_keys text[]            same length, unique
--          $4 emails text[]               same length, unique
--          $5 email_keys text[]           same length, unique
--          $6 created_ats timestamptz[]   same length
-- Locks:   the new rows
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO users (id, username, name_key, email, email_key, created_at)
SELECT
    imported.id,
    imported.username,
    imported.name_key,
    imported.email,
    imported.email_key,
    imported.created_at
FROM
    unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
        AS imported (id, username, name_key, email, email_key, created_at)
