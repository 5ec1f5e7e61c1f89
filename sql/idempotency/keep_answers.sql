-- idempotency/keep_answers: keep what is answered to requests with these keys; an expired key is
--     taken over, and so is a copy that 0.2.0 has made for 0.1.0
-- Params:  $1 services text[]           one per answer
--          $2 keys text[]               same length, each pair once
--          $3 digests bytea[]           same length, SHA-256 of the requests
--          $4 normal_digests bytea[]    same length, the JSON in one form
--          $5 statuses smallint[]       same length, HTTP status
--          $6 headers jsonb[]           same length
--          $7 bodies bytea[]            same length
--          $8 user_ids bigint?[]        same length; whose names and address the body shows
--          $9 keep interval             older keys have expired
-- Locks:   the keys, in order; waits for a transaction that is adding one of them
-- Rows:    key text; one per answer kept, none for a key that another transaction has added
-- Index:   idempotency_keys_pkey
INSERT INTO idempotency_keys
(service, key, digest, normal_digest, status, headers, body, user_id, noted_at)
SELECT
    answer.service,
    answer.key,
    answer.digest,
    answer.normal_digest,
    answer.status,
    answer.headers,
    answer.body,
    answer.user_id,
    now() AS noted_at -- as created_at
FROM
    unnest(
        $1::text[],
        $2::text[],
        $3::bytea[],
        $4::bytea[],
        $5::smallint[],
        $6::jsonb[],
        $7::bytea[],
        $8::bigint[]
    )
        AS answer (service, key, digest, normal_digest, status, headers, body, user_id)
ORDER BY answer.service, answer.key
ON CONFLICT (service, key) DO UPDATE
    SET
        digest = excluded.digest,
        normal_digest = excluded.normal_digest,
        status = excluded.status,
        headers = excluded.headers,
        body = excluded.body,
        user_id = excluded.user_id,
        created_at = excluded.created_at,
        noted_at = excluded.noted_at
    WHERE
    idempotency_keys.created_at <= now() - $9::interval
    OR (
        idempotency_keys.noted_at = idempotency_keys.created_at
        AND idempotency_keys.normal_digest IS NULL
    )
RETURNING key
