-- events/purge_default: remove events older than the retention that never had a partition, some at
--     a time
-- Params:  $1 before timestamptz   the start of what is kept
--          $2 page_size bigint
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   events_default_created_at_idx, events_pkey
WITH old AS (
    SELECT
        id,
        created_at
    FROM events_default
    WHERE created_at < $1
    ORDER BY created_at
    LIMIT $2
),

purged AS (
    DELETE FROM events_default
    USING old
    WHERE events_default.id = old.id AND events_default.created_at = old.created_at
    RETURNING events_default.id
)

SELECT count(*) AS purged
FROM purged
