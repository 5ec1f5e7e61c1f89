-- accounts/lock_users_by_name: lock the accounts that a batch will change, known by their usernames
-- Params:  $1 usernames text[]   unique
--          $2 name_keys text[]   unique; of those that may be spelt in another way
-- Locks:   users rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, username text, name_key text?, balance bigint; one per user found
-- Index:   users_username_key, users_name_key_idx, users_pkey

-- Not by OR, nor as a join: planned while there are few users, both would go on to read all.
SELECT
    id,
    username,
    name_key,
    balance
FROM users
WHERE
    id = any(
        array(
            SELECT named.id
            FROM users AS named
            WHERE named.username = any($1::text[])
            UNION ALL
            SELECT keyed.id
            FROM users AS keyed
            WHERE keyed.name_key = any($2::text[])
        )
    )
ORDER BY id
FOR NO KEY UPDATE
