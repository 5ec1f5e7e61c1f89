-- subscriptions/find_cursor: tell how far the log is dispatched, and which subscriptions are known
-- Params:  none
-- Locks:   none
-- Rows:    position bigint, version bigint; one
-- Index:   dispatch_cursor_pkey
SELECT
    position,
    version
FROM dispatch_cursor
WHERE only_one
