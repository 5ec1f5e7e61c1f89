-- idempotency/find_answers: find what was answered to requests with these keys
-- Params:  $1 services text[]   one per key
--          $2 keys text[]       same length, each pair once
--          $3 keep interval     older keys have expired
-- Locks:   none
-- Rows:    service text, key text, digest bytea, normal_digest bytea?, is_copy boolean,
--          status smallint, headers jsonb, body bytea; one per key known
-- Index:   idempotency_keys_pkey
SELECT
    known.service,
    known.key,
    known.digest,
    -- 0.1.0 took over expired keys, and left these two columns as they were.
    CASE WHEN known.noted_at = known.created_at THEN known.normal_digest END AS normal_digest,
    coalesce(known.noted_at = known.created_at, FALSE) AND known.normal_digest IS NULL AS is_copy,
    known.status,
    known.headers,
    known.body
FROM unnest($1::text[], $2::text[]) AS wanted (service, key)
INNER JOIN idempotency_keys AS known
    ON wanted.service = known.service AND wanted.key = known.key
-- Not an interval off now(): the keys are to be looked up, not the young rows read.
WHERE known.created_at + $3::interval > now()
