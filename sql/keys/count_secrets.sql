-- keys/count_secrets: count the secrets of keys that are valid
-- Params:  $1 key_ids bigint[]   unique
-- Locks:   none new; the caller holds keys/lock_keys, so there are no more until it commits
-- Rows:    key_id bigint, secrets bigint; one per key
-- Index:   api_key_secrets_key_id_idx
SELECT
    given.key_id,
    (
        SELECT count(*)
        FROM api_key_secrets AS secret
        WHERE
            secret.key_id = given.key_id
            AND (secret.valid_until IS NULL OR secret.valid_until > statement_timestamp())
    ) AS secrets
FROM unnest($1::bigint[]) AS given (key_id)
