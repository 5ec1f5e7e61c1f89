-- metrics/measure_outbox: measure what waits to be delivered, at a bounded cost however much it is
-- Params:  $1 counted bigint   rows of a kind that are counted at most
-- Locks:   none
-- Rows:    outbox_events bigint, outbox_age_s float8, kept_events bigint, dead_letters bigint,
--          losses bigint; one
-- Index:   outbox_pkey
WITH undelivered AS (
    SELECT outbox.created_at
    FROM outbox
    -- Not a join: it would read what is delivered as well, from the beginning.
    WHERE
        (outbox.xid, outbox.position)
        > (
            (SELECT last.xid FROM outbox_cursor AS last),
            (SELECT last.position FROM outbox_cursor AS last)
        )
    ORDER BY outbox.xid, outbox.position
    LIMIT $1
),

log AS (
    SELECT
        count(*) AS events,
        coalesce(extract(EPOCH FROM now() - min(undelivered.created_at)), 0) AS age_s
    FROM undelivered
),

delivered AS (
    SELECT outbox.position
    FROM outbox
    WHERE
        (outbox.xid, outbox.position)
        <= (
            (SELECT last.xid FROM outbox_cursor AS last),
            (SELECT last.position FROM outbox_cursor AS last)
        )
    ORDER BY outbox.xid, outbox.position
    LIMIT $1
),

kept AS (
    SELECT
        count(*) AS events,
        min(delivered.position) AS position
    FROM delivered
),

-- Positions have gaps, so they count only what is too much to be counted one by one.
stretch AS (
    SELECT
        outbox.position AS newest,
        CASE
            -- After outbox/rebase, and before the first delivery.
            WHEN last.position = 0 THEN last.last_position
            -- A relay that has gone back is behind the last position.
            ELSE least(last.position, last.last_position)
        END AS delivered
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
        ELSE
            greatest(
                log.events,
                (
                    SELECT
                        stretch.newest
                        - stretch.delivered
                        - count_skipped_positions(stretch.delivered, stretch.newest)
                    FROM stretch
                )
            )
    END AS outbox_events,
    log.age_s::double precision AS outbox_age_s,
    CASE
        WHEN kept.events < $1 THEN kept.events
        ELSE
            greatest(
                kept.events,
                (
                    SELECT
                        last.position
                        - kept.position
                        + 1
                        - count_skipped_positions(kept.position, last.position)
                    FROM outbox_cursor AS last
                )
            )
    END AS kept_events,
    (SELECT count(*) FROM dead) AS dead_letters,
    (
        SELECT count(*)
        FROM outbox_rewinds
        WHERE NOT outbox_rewinds.complete AND outbox_rewinds.accepted_at IS NULL
    ) AS losses
FROM log
CROSS JOIN kept
