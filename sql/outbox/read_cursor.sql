-- outbox/read_cursor: tell how far the log is delivered
-- Params:  none
-- Locks:   none
-- Rows:    xid xid8, position bigint, source uuid, stranded boolean; one
-- Index:   none, there is one row
SELECT
    xid,
    position,
    source,
    -- Cheap, and asked often; outbox/find_stranded looks closer.
    xid >= pg_snapshot_xmax(pg_current_snapshot()) AS stranded
FROM outbox_cursor
