-- keys/find_keys: read keys by their names
-- Params:  $1 service text
--          $2 names text[]   unique
-- Locks:   none
-- Rows:    id bigint, name text, scopes text[], rate integer?, created_at timestamptz,
--          created_by text, expires_at timestamptz?, old_secret_until timestamptz?; one per
--          key found
-- Index:   api_keys_service_name_key, api_key_secrets_key_id_idx
SELECT
    api_keys.id,
    api_keys.name,
    api_keys.scopes,
    api_keys.rate,
    api_keys.created_at,
    api_keys.created_by,
    api_keys.expires_at,
    (
        SELECT max(secret.valid_until)
        FROM api_key_secrets AS secret
        WHERE secret.key_id = api_keys.id AND secret.valid_until > now()
    ) AS old_secret_until
FROM api_keys
WHERE api_keys.service = $1 AND api_keys.name = any($2::text[])
