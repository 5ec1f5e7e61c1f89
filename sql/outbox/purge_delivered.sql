-- outbox/purge_delivered: remove delivered events from the log, some at a time
-- Params:  $1 page_size bigint
-- Locks:   the rows removed, which no statement reads any more
-- Rows:    purged bigint; one
-- Index:   outbox_pkey
WITH delivered AS (
    SELECT
        outbox.xid,
        outbox.position
    FROM outbox
    INNER JOIN outbox_cursor AS last
        ON
            (outbox.xid, outbox.position) <= (last.xid, last.position)
            -- What was written since a logical restore has a higher position than all delivered.
            AND outbox.position <= last.last_position
    ORDER BY outbox.xid, outbox.position
    LIMIT $1
),

purged AS (
    DELETE FROM outbox
    USING delivered
    WHERE outbox.xid = delivered.xid AND outbox.position = delivered.position
    RETURNING outbox.position
)

SELECT count(*) AS purged
FROM purged
