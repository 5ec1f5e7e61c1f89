-- keys/add_secrets: add secrets to keys
-- Params:  $1 hashes bytea[]          unique, SHA-256 of the secrets
--          $2 key_ids bigint[]        same length
--          $3 valid_fors interval?[]  same length, from now on; null: without an end
-- Locks:   none new; the caller has created the keys, or holds keys/lock_keys, api_keys
-- Rows:    none
-- Index:   none, it only adds
INSERT INTO api_key_secrets (hash, key_id, valid_until)
SELECT
    given.hash,
    given.key_id,
    now() + given.valid_for AS valid_until
FROM
    unnest($1::bytea[], $2::bigint[], $3::interval[]) AS given (hash, key_id, valid_for)
