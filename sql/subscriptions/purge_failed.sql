-- subscriptions/purge_failed: remove deliveries that were given up long ago, some at a time
-- Params:  $1 keep interval      older ones go
--          $2 page_size bigint
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   deliveries_failed_idx
WITH old AS (
    SELECT id
    FROM deliveries
    WHERE status = 'failed' AND finished_at <= statement_timestamp() - $1::interval
    ORDER BY finished_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),

purged AS (
    DELETE FROM deliveries
    WHERE id = any(array(SELECT old.id FROM old))
    RETURNING id
)

SELECT count(*) AS purged
FROM purged
