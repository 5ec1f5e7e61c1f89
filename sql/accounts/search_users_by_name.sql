-- accounts/search_users_by_name: read a page of the users whose usernames begin with a text, in the
--     order of what these are compared by
-- Params:  $1 spellings text[]    of the whole text: users without a key are found by these alone
--          $2 first_key text      keys from this one on
--          $3 end_key text        and before this one
--          $4 after_id bigint     of those with first_key, only users with a higher id
--          $5 page_size bigint
-- Locks:   none
-- Rows:    id bigint, username text, email text?, first_name text, last_name text,
--          balance bigint, created_at timestamptz, anonymised_at timestamptz?,
--          position text; page_size at most
-- Index:   users_username_key, users_name_order_idx
WITH spelt AS MATERIALIZED (
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
        name_key
    FROM users
    WHERE username = any($1::text[])
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
        name_key AS position
    FROM users
    WHERE
        name_key COLLATE "C" >= $2
        AND name_key COLLATE "C" < $3
        AND (name_key COLLATE "C" > $2 OR id > $4)
    ORDER BY name_key COLLATE "C"
    LIMIT $5
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
        $2 AS position
    FROM spelt
    WHERE name_key IS NULL AND id > $4
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
        position
    FROM keyed
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
    position
FROM matching
ORDER BY position COLLATE "C", id
LIMIT $5
