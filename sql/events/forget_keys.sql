-- events/forget_keys: forget the keys of events older than the retention, some at a time
-- Params:  $1 before timestamptz   the start of what is kept
--          $2 page_size bigint
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   event_keys_created_at_idx
WITH old AS (
    SELECT event_id
    FROM event_keys
    WHERE created_at < $1
    ORDER BY created_at
    LIMIT $2
),

purged AS (
    DELETE FROM event_keys
    USING old
    WHERE event_keys.event_id = old.event_id
    RETURNING event_keys.event_id
)

SELECT count(*) AS purged
FROM purged
