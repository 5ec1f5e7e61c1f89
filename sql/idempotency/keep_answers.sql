-- idempotency/keep_answers: keep what is answered to requests with these keys; an expired key is
--     taken over
-- Params:  $1 services text[]       one per answer
--          $2 keys text[]           same length, each pair once
--          $3 digests bytea[]       same length, SHA-256 of the requests
--          $4 statuses smallint[]   same length, HTTP status
--          $5 headers jsonb[]       same length
--          $6 bodies bytea[]        same length
--          $7 keep interval         older keys have expired
-- Locks:   the keys, in order; waits for a transaction that is adding one of them
-- Rows:    key text; one per answer kept, none for a key that another transaction has added
-- Index:   idempotency_keys_pkey
INSERT INTO idempotency_keys (service, key, digest, status, headers, body)
SELECT
    answer.service,
    answer.key,
    answer.digest,
    answer.status,
    answer.headers,
    answer.body
FROM
    unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::jsonb[], $6::bytea[])
        AS answer (service, key, digest, status, headers, body)
ORDER BY answer.service, answer.key
ON CONFLICT (service, key) DO UPDATE
    SET
        digest = excluded.digest,
        status = excluded.status,
        headers = excluded.headers,
        body = excluded.body,
        created_at = excluded.created_at
    WHERE idempotency_keys.created_at <= now() - $7::interval
RETURNING key
