-- outbox/find_kept: tell what is kept of what was delivered after a place in the log
-- Params:  $1 xid xid8
--          $2 position bigint
-- Locks:   none
-- Rows:    events bigint, complete boolean, kept_since timestamptz?; one; events are counted up to
--          100,000, more are estimated; complete if nothing that was delivered after that place is
--          missing; kept_since null if nothing is kept
-- Index:   outbox_pkey
WITH counted AS (
    SELECT
        count(*) AS events,
        min(kept.position) AS position
    FROM (
        SELECT outbox.position
        FROM outbox
        WHERE
            (outbox.xid, outbox.position) > ($1, $2)
            AND (outbox.xid, outbox.position)
            <= (
                (SELECT front.xid FROM outbox_cursor AS front),
                (SELECT front.position FROM outbox_cursor AS front)
            )
        ORDER BY outbox.xid, outbox.position
        LIMIT 100000
    ) AS kept
)

SELECT
    CASE
        WHEN counted.events < 100000 THEN counted.events
        -- Positions have gaps.
        ELSE
            greatest(
                counted.events,
                last.position
                - counted.position
                + 1
                - count_skipped_positions(counted.position, last.position)
            )
    END AS events,
    (
        ($1, $2) = (last.xid, last.position)
        OR EXISTS (
            SELECT 1
            FROM outbox
            WHERE outbox.xid = $1 AND outbox.position = $2
        )
        OR EXISTS (
            SELECT 1
            FROM outbox_marks AS mark
            WHERE mark.xid = $1 AND mark.position = $2 AND mark.position = 0
        )
    ) AS complete,
    (
        SELECT min(mark.at)
        FROM outbox_marks AS mark
        WHERE
            mark.position = 0
            OR EXISTS (
                SELECT 1
                FROM outbox
                WHERE outbox.xid = mark.xid AND outbox.position = mark.position
            )
    ) AS kept_since
FROM outbox_cursor AS last
CROSS JOIN counted
