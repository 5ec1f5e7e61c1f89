-- metrics/measure_outbox: measure what waits to be delivered, at a bounded cost however much it is
-- Params:  $1 counted bigint   rows of a kind that are counted at most
-- Locks:   none
-- Rows:    outbox_events bigint, outbox_age_s float8, dead_letters bigint; one
-- Index:   outbox_pkey
WITH undelivered AS (
    SELECT outbox.created_at
    FROM outbox_cursor AS last
    INNER JOIN outbox ON (outbox.xid, outbox.position) > (last.xid, last.position)
    ORDER BY outbox.xid, outbox.position
    LIMIT $1
),

log AS (
    SELECT
        count(*) AS events,
        coalesce(extract(EPOCH FROM now() - min(undelivered.created_at)), 0) AS age_s
    FROM undelivered
),

-- Positions have gaps, so they count only what is too much to be counted one by one.
stretch AS (
    SELECT outbox.position - last.last_position AS positions
    FROM outbox_cursor AS last
    CROSS JOIN outbox
    ORDER BY outbox.xid DESC, outbox.position DESC
    LIMIT 1
),

dead AS (
    SELECT outbox_dead_letters.event_id
    FROM outbox_dead_letters
    ORDER BY outbox_dead_letters.event_id
    LIMIT $1
)

SELECT
    CASE
        WHEN log.events < $1 THEN log.events
        ELSE greatest(log.events, (SELECT stretch.positions FROM stretch))
    END AS outbox_events,
    log.age_s::double precision AS outbox_age_s,
    (SELECT count(*) FROM dead) AS dead_letters
FROM log
