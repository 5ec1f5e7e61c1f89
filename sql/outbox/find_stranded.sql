-- outbox/find_stranded: tell whether the log carries another cluster's transaction ids, after a
--     logical restore
-- Params:  none
-- Locks:   none
-- Rows:    stranded boolean; one
-- Index:   outbox_pkey
SELECT
    last.xid >= pg_snapshot_xmax(pg_current_snapshot())
    -- This cluster's ids may have passed the cursor's since; positions still tell.
    OR EXISTS (
        SELECT 1
        FROM outbox
        WHERE
            (outbox.xid, outbox.position) <= (last.xid, last.position)
            AND outbox.position > last.last_position
    ) AS stranded
FROM outbox_cursor AS last
