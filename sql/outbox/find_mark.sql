-- outbox/find_mark: find the place in the log after which everything was delivered since a time
-- Params:  $1 since timestamptz
-- Locks:   none
-- Rows:    xid xid8, position bigint; one, or none if not all of it is kept
-- Index:   outbox_marks_pkey, outbox_pkey
SELECT
    newest.xid,
    newest.position
FROM (
    SELECT
        mark.xid,
        mark.position
    FROM outbox_marks AS mark
    -- That of the beginning is there while nothing was removed.
    WHERE mark.at <= $1 OR mark.position = 0
    ORDER BY mark.at DESC
    LIMIT 1
) AS newest
WHERE
    newest.position = 0
    OR EXISTS (
        SELECT 1
        FROM outbox
        WHERE outbox.xid = newest.xid AND outbox.position = newest.position
    )
