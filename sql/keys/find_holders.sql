-- keys/find_holders: read the valid keys that have these secrets
-- Params:  $1 hashes bytea[]   unique, SHA-256 of the secrets
-- Locks:   none
-- Rows:    hash bytea, id bigint, service text, name text, scopes text[], rate integer?,
--          left_s float8?; one per secret that is valid, and for how much longer; null: without an
--          end
-- Index:   api_key_secrets_pkey, api_keys_pkey
SELECT
    api_key_secrets.hash,
    api_keys.id,
    api_keys.service,
    api_keys.name,
    api_keys.scopes,
    api_keys.rate,
    extract(
        EPOCH FROM least(api_key_secrets.valid_until, api_keys.expires_at) - now()
    )::double precision AS left_s
FROM api_key_secrets
INNER JOIN api_keys ON api_key_secrets.key_id = api_keys.id
WHERE
    api_key_secrets.hash = any($1::bytea[])
    AND (api_key_secrets.valid_until IS NULL OR api_key_secrets.valid_until > now())
    AND (api_keys.expires_at IS NULL OR api_keys.expires_at > now())
