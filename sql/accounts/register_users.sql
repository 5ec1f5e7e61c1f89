-- accounts/register_users: add users with their names and addresses; the balance follows by
--     accounts/post_entries
-- Params:  $1 usernames text[]      unique
--          $2 name_keys text[]      same length, unique
--          $3 emails text?[]        same length, each once
--          $4 email_keys text?[]    same length, each once
--          $5 first_names text[]    same length
--          $6 last_names text[]     same length
-- Locks:   the new rows; a name or an address that another transaction is taking is waited for
-- Rows:    id bigint, username text, created_at timestamptz; one per user whose name and address no
--          other user has
-- Index:   none, rows are only added
INSERT INTO users (username, name_key, email, email_key, first_name, last_name, created_at)
SELECT
    new.username,
    new.name_key,
    new.email,
    new.email_key,
    new.first_name,
    new.last_name,
    -- The transaction's now() may be older than what it has waited for.
    statement_timestamp() AS created_at
FROM
    unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS new (username, name_key, email, email_key, first_name, last_name)
-- As accounts/create_users does: both wait for names in the same direction.
ORDER BY new.name_key, new.username
ON CONFLICT DO NOTHING
RETURNING id, username, created_at
