-- outbox/read_cursor: tell how far the log is delivered
-- Params:  none
-- Locks:   none
-- Rows:    xid xid8, position bigint, source uuid, log text?, mark_xid xid8?,
--          mark_position bigint?, resend_xid xid8?, resend_position bigint?, stranded boolean,
--          complete boolean; one
-- Index:   outbox_pkey
SELECT
    xid,
    position,
    source,
    log,
    mark_xid,
    mark_position,
    resend_xid,
    resend_position,
    -- Cheap, and asked often; outbox/find_stranded looks closer.
    xid >= pg_snapshot_xmax(pg_current_snapshot()) AS stranded,
    -- Nothing is left, not even what a running transaction holds back.
    NOT EXISTS (
        SELECT 1
        FROM outbox
        WHERE (outbox.xid, outbox.position) > (last.xid, last.position)
    ) AS complete
FROM outbox_cursor AS last
