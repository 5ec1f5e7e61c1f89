-- keys/list_keys: read a page of keys, newest first
-- Params:  $1 service text
--          $2 before bigint   only keys with lower ids
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, name text, scopes text[], rate integer?, created_at timestamptz,
--          created_by text, expires_at timestamptz?, old_secret_until timestamptz?; page_size
--          at most
-- Index:   api_keys_service_id_idx, api_key_secrets_key_id_idx
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
WHERE api_keys.service = $1 AND api_keys.id < $2
ORDER BY api_keys.id DESC
LIMIT $3
