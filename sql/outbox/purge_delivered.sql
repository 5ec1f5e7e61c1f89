-- outbox/purge_delivered: remove events from the log that were delivered long enough ago, some at
--     a time
-- Params:  $1 page_size bigint
--          $2 keep interval         since the delivery; 0: nothing is kept
--          $3 keep_events bigint    how many are kept at most
-- Locks:   the rows removed, which no statement reads any more; the caller has run outbox/note_mark
-- Rows:    purged bigint; one
-- Index:   outbox_pkey, outbox_marks_pkey
WITH due AS (
    SELECT
        mark.xid,
        mark.position
    FROM outbox_marks AS mark
    WHERE mark.at <= statement_timestamp() - $2::interval
    ORDER BY mark.at DESC
    LIMIT 1
),

-- What lies before it is more than is kept. Positions have gaps, so that fewer events may stay; but
-- not those of the epochs, which are large.
bound AS (
    SELECT
        last.last_position
        - $3
        - count_skipped_positions(
            (
                SELECT outbox.position
                FROM outbox
                ORDER BY outbox.xid, outbox.position
                LIMIT 1
            ),
            last.last_position
        ) AS position
    FROM outbox_cursor AS last
),

delivered AS (
    SELECT
        outbox.ctid AS place,
        -- Only a beginning of the log goes: while an event is there, so are all later ones.
        bool_and(
            -- What an operator wants to be delivered again waits for the relay.
            coalesce(
                (outbox.xid, outbox.position)
                < (
                    (SELECT last.resend_xid FROM outbox_cursor AS last),
                    (SELECT last.resend_position FROM outbox_cursor AS last)
                ),
                true
            )
            AND (
                $2::interval = interval '0'
                -- The mark's own event stays, to show that what follows is complete.
                OR coalesce(
                    (outbox.xid, outbox.position)
                    < ((SELECT due.xid FROM due), (SELECT due.position FROM due)),
                    false
                )
                OR outbox.position <= (SELECT bound.position FROM bound)
            )
        ) OVER (
            ORDER BY outbox.xid, outbox.position
        ) AS goes
    FROM outbox
    -- Not a join: it would read on through what is undelivered.
    WHERE
        (outbox.xid, outbox.position)
        <= (
            (SELECT last.xid FROM outbox_cursor AS last),
            (SELECT last.position FROM outbox_cursor AS last)
        )
        -- What was written since a logical restore has a higher position than all delivered.
        AND outbox.position <= (SELECT last.last_position FROM outbox_cursor AS last)
    ORDER BY outbox.xid, outbox.position
    LIMIT $1
),

-- Not a join: planned while there are few events, it would read all of them.
purged AS (
    DELETE FROM outbox
    WHERE
        outbox.ctid
        = any(
            array(
                SELECT delivered.place
                FROM delivered
                WHERE delivered.goes
            )
        )
    RETURNING outbox.xid, outbox.position
),

unmarked AS (
    DELETE FROM outbox_marks
    USING (
        SELECT
            purged.xid,
            purged.position
        FROM purged
        ORDER BY purged.xid DESC, purged.position DESC
        LIMIT 1
    ) AS newest
    WHERE (outbox_marks.xid, outbox_marks.position) <= (newest.xid, newest.position)
)

SELECT count(*) AS purged
FROM purged
