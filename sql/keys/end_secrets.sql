-- keys/end_secrets: let the secrets of keys end soon, and remove those that have ended
-- Params:  $1 key_ids bigint[]     unique
--          $2 overlaps interval[]  same length, for which the secrets are still valid
-- Locks:   none new; the caller holds keys/lock_keys
-- Rows:    none
-- Index:   api_key_secrets_key_id_idx
WITH gone AS (
    DELETE FROM api_key_secrets
    WHERE key_id = any($1::bigint[]) AND valid_until <= now()
)

UPDATE api_key_secrets
SET valid_until = least(api_key_secrets.valid_until, now() + given.overlap)
FROM unnest($1::bigint[], $2::interval[]) AS given (key_id, overlap)
WHERE
    api_key_secrets.key_id = given.key_id
    AND (api_key_secrets.valid_until IS NULL OR api_key_secrets.valid_until > now())
