-- events/forget_keys: forget the keys of events older than the retention, some at a time
-- Params:  $1 months integer     to keep, besides this one
--          $2 page_size bigint
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   event_keys_created_at_idx
WITH old AS (
    SELECT event_id
    FROM event_keys
    WHERE
        created_at
        < date_trunc('month', (now() AT TIME ZONE 'UTC') - make_interval(months => $1))
        AT TIME ZONE 'UTC'
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
