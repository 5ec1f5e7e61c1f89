-- seed/import_users: add users with the ids they had elsewhere; the balance follows by
--     accounts/post_entries
-- Params:  $1 user_ids bigint[]           unique
--          $2 usernames text[]            same length, unique
--          $3 emails text[]               same length, unique
--          $4 created_ats timestamptz[]   same length
--          $5 first_names text[]          same length
--          $6 last_names text[]           same length
-- Locks:   the new rows
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO users (id, username, email, created_at, first_name, last_name)
SELECT
    imported.id,
    imported.username,
    imported.email,
    imported.created_at,
    imported.first_name,
    imported.last_name
FROM
    unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[])
        AS imported (id, username, email, created_at, first_name, last_name)
