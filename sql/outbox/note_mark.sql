-- outbox/note_mark: note how far the log is delivered at this time, unless that was noted lately
--     or nothing is delivered yet
-- Params:  $1 pause interval   between two notes
-- Locks:   outbox_marks IN ROW EXCLUSIVE MODE, noted or not: it waits for a relay that goes back
-- Rows:    none
-- Index:   outbox_marks_pkey
INSERT INTO outbox_marks (at, xid, position)
SELECT
    statement_timestamp() AS at,
    last.xid,
    last.position
FROM outbox_cursor AS last
WHERE
    last.position > 0
    AND NOT EXISTS (
        SELECT 1
        FROM (
            SELECT
                mark.at,
                mark.xid,
                mark.position
            FROM outbox_marks AS mark
            ORDER BY mark.at DESC
            LIMIT 1
        ) AS newest
        WHERE
            newest.at > statement_timestamp() - $1::interval
            OR (newest.xid, newest.position) >= (last.xid, last.position)
    )
ON CONFLICT (at) DO NOTHING
