-- accounts/assign_keys: store the keys of users' names and addresses
-- Params:  $1 user_ids bigint[]     unique
--          $2 name_keys text?[]     same length; null: it stays as it is
--          $3 email_keys text?[]    same length; null: it stays as it is
-- Locks:   users rows FOR NO KEY UPDATE, in the order of id
-- Rows:    none
-- Index:   users_pkey
WITH keyed AS (
    SELECT
        users.id,
        new.name_key,
        new.email_key
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS new (id, name_key, email_key)
    INNER JOIN users ON new.id = users.id
    ORDER BY users.id
    FOR NO KEY UPDATE OF users
)

UPDATE users
SET
    name_key = coalesce(keyed.name_key, users.name_key),
    email_key = coalesce(keyed.email_key, users.email_key)
FROM keyed
WHERE users.id = keyed.id
