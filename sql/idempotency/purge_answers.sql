-- idempotency/purge_answers: forget keys that have expired, some at a time
-- Params:  $1 keep interval      older keys have expired
--          $2 page_size bigint
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   idempotency_keys_created_at_idx
WITH expired AS (
    SELECT
        service,
        key
    FROM idempotency_keys
    WHERE created_at <= now() - $1::interval
    ORDER BY created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),

purged AS (
    DELETE FROM idempotency_keys
    USING expired
    WHERE
        idempotency_keys.service = expired.service
        AND idempotency_keys.key = expired.key
    RETURNING idempotency_keys.key
)

SELECT count(*) AS purged
FROM purged
