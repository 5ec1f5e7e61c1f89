-- accounts/search_users_by_both: read a page of the users whose usernames begin with one text, and
--     whose addresses with another, in the order of what usernames are compared by
-- Params:  $1 spellings text[]          of the first text, as for accounts/search_users_by_name
--          $2 first_key text            keys of usernames from this one on
--          $3 end_key text              and before this one
--          $4 after_id bigint           of those with first_key, only users with a higher id
--          $5 email_spellings text[]    of the second text
--          $6 first_email_key text      keys of addresses from this one on
--          $7 end_email_key text        and before this one
--          $8 few bigint                if fewer addresses match, these are read, else names
--          $9 walk bigint               of those whose names match, so many are looked at
--          $10 page_size bigint
-- Locks:   none
-- Rows:    id bigint, username text, email text?, first_name text, last_name text,
--          balance bigint, created_at timestamptz, anonymised_at timestamptz?,
--          position text, is_match boolean; page_size at most. If the walk has ended before the
--          page was full, and perhaps before the list, its last user is added, not as a match
-- Index:   users_username_key, users_name_order_idx, users_email_key, users_email_order_idx,
--          users_pkey
WITH addressed AS MATERIALIZED (
    SELECT id
    FROM users
    WHERE email_key COLLATE "C" >= $6 AND email_key COLLATE "C" < $7
    ORDER BY email_key COLLATE "C"
    LIMIT $8
),

spelt AS MATERIALIZED (
    -- As a step of its own, so that it is the spelling that finds them.
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        name_key,
        email_key
    FROM users
    WHERE username = any($1::text[])
),

found AS (
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        coalesce(name_key, $2) AS position
    FROM users
    WHERE
        (SELECT count(*) < $8 FROM addressed)
        AND id = any(
            array(
                SELECT addressed.id
                FROM addressed
                UNION ALL
                SELECT exact.id
                FROM users AS exact
                WHERE exact.email = any($5::text[])
            )
        )
        AND CASE
            WHEN email_key IS NULL THEN email = any($5::text[])
            ELSE email_key COLLATE "C" >= $6 AND email_key COLLATE "C" < $7
        END
        AND CASE
            WHEN name_key IS NULL THEN username = any($1::text[])
            ELSE name_key COLLATE "C" >= $2 AND name_key COLLATE "C" < $3
        END
        AND (name_key COLLATE "C" > $2 OR id > $4)
),

unkeyed AS (
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        $2 AS position
    FROM spelt
    WHERE
        (SELECT count(*) >= $8 FROM addressed)
        AND name_key IS NULL
        AND id > $4
        AND CASE
            WHEN email_key IS NULL THEN email = any($5::text[])
            ELSE email_key COLLATE "C" >= $6 AND email_key COLLATE "C" < $7
        END
),

walked AS (
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        email_key,
        name_key COLLATE "C" AS place
    FROM users
    WHERE
        (SELECT count(*) >= $8 FROM addressed)
        AND name_key COLLATE "C" >= $2
        AND name_key COLLATE "C" < $3
        AND (name_key COLLATE "C" > $2 OR id > $4)
    ORDER BY place
    LIMIT $9
),

keyed AS (
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        place AS position
    FROM walked
    WHERE
        (email_key IS NULL AND email = any($5::text[]))
        OR (email_key COLLATE "C" >= $6 AND email_key COLLATE "C" < $7)
    ORDER BY place
    LIMIT $10
),

-- Not from walked: read twice, it would be read to its end, even if a page is found at once.
stop AS (
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        name_key AS position
    FROM users
    WHERE
        (SELECT count(*) < $10 FROM keyed)
        AND (SELECT count(*) >= $8 FROM addressed)
        AND name_key COLLATE "C" >= $2
        AND name_key COLLATE "C" < $3
        AND (name_key COLLATE "C" > $2 OR id > $4)
    ORDER BY name_key COLLATE "C"
    LIMIT 1 OFFSET $9 - 1
),

matching AS (
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        position,
        TRUE AS is_match
    FROM found
    UNION ALL
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        position,
        TRUE AS is_match
    FROM unkeyed
    UNION ALL
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        position,
        TRUE AS is_match
    FROM keyed
    UNION ALL
    SELECT
        id,
        username,
        email,
        first_name,
        last_name,
        balance,
        created_at,
        anonymised_at,
        position,
        FALSE AS is_match
    FROM stop
)

SELECT
    id,
    username,
    email,
    first_name,
    last_name,
    balance,
    created_at,
    anonymised_at,
    position,
    is_match
FROM matching
-- The last one may be a match, too.
ORDER BY position COLLATE "C" ASC, id ASC, is_match DESC
LIMIT $10
