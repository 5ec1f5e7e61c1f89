-- seed/describe_users: give new demo users their names and addresses
-- Params:  $1 usernames text[]     unique
--          $2 emails text[]        same length
--          $3 email_keys text[]    same length, unique
--          $4 first_names text[]   same length
--          $5 last_names text[]    same length
-- Locks:   users rows, already held: the same transaction has created them
-- Rows:    id bigint, username text; one per user, in the order of the input
-- Index:   users_username_key
WITH described AS (
    UPDATE users
    SET
        email = described.email,
        email_key = described.email_key,
        first_name = described.first_name,
        last_name = described.last_name
    FROM
        unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        WITH ORDINALITY
            AS described (username, email, email_key, first_name, last_name, ordinal)
    WHERE users.username = described.username
    RETURNING users.id, users.username, described.ordinal
)

SELECT
    id,
    username
FROM described
ORDER BY ordinal
