-- outbox/purge_dead: forget dead letters that are too old, some at a time
-- Params:  $1 keep interval      older ones go
--          $2 page_size bigint
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   none, there should be few
WITH old AS (
    SELECT event_id
    FROM outbox_dead_letters
    WHERE refused_at < now() - $1::interval
    ORDER BY refused_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),

purged AS (
    DELETE FROM outbox_dead_letters
    USING old
    WHERE outbox_dead_letters.event_id = old.event_id
    RETURNING outbox_dead_letters.event_id
)

SELECT count(*) AS purged
FROM purged
