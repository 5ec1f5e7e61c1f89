-- keys/create_keys: create keys with names that are free
-- Params:  $1 service text
--          $2 names text[]                unique
--          $3 scopes text[]               same length; those of a key with blanks between
--          $4 rates integer?[]            same length, requests a second; null: as for any client
--          $5 expires_ats timestamptz?[]  same length; null: never
--          $6 actors text[]               same length, who creates them
-- Locks:   the new names: a second creator waits
-- Rows:    id bigint, name text, created_at timestamptz; one per key created, none for a name that
--          is taken
-- Index:   none, it only adds; ON CONFLICT looks at api_keys_service_name_key
INSERT INTO api_keys (service, name, scopes, rate, expires_at, created_by)
SELECT
    $1 AS service,
    given.name,
    string_to_array(given.scopes, ' ') AS scopes,
    given.rate,
    given.expires_at,
    given.actor
FROM
    unnest($2::text[], $3::text[], $4::integer[], $5::timestamptz[], $6::text[])
        AS given (name, scopes, rate, expires_at, actor)
ORDER BY given.name
ON CONFLICT (service, name) DO NOTHING
RETURNING id, name, created_at
