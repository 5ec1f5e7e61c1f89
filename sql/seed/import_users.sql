-- seed/import_users: add users with the ids they had elsewhere; the balance follows by
--     accounts/post_entries
-- Params:  $1 user_ids bigint[]           unique
--          $2 usernames text[]            same length, unique
--          $3 name_keys text[]            same length, unique
--          $4 emails text[]               same length, unique
--          $5 email_keys text[]           same length, unique
--          $6 created_ats timestamptz[]   same length
--          $7 first_names text[]          same length
--          $8 last_names text[]           same length
-- Locks:   the new rows
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO users (id, username, name_key, email, email_key, created_at, first_name, last_name)
SELECT
    imported.id,
    imported.username,
    imported.name_key,
    imported.email,
    imported.email_key,
    imported.created_at,
    imported.first_name,
    imported.last_name
FROM
    unnest(
        $1::bigint[],
        $2::text[],
        $3::text[],
        $4::text[],
        $5::text[],
        $6::timestamptz[],
        $7::text[],
        $8::text[]
    ) AS imported (
        id, username, name_key, email, email_key, created_at, first_name, last_name
    )
