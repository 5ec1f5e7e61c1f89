-- keys/lock_keys: lock keys, to rotate or revoke them
-- Params:  $1 service text
--          $2 names text[]   unique
-- Locks:   the keys, FOR UPDATE, in the order of id
-- Rows:    id bigint, name text, has_expired boolean; one per key found
-- Index:   api_keys_service_name_key
SELECT
    id,
    name,
    coalesce(expires_at <= statement_timestamp(), FALSE) AS has_expired
FROM api_keys
WHERE service = $1 AND name = any($2::text[])
ORDER BY id
FOR UPDATE
