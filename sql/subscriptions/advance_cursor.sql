-- subscriptions/advance_cursor: note that the log is dispatched up to a place
-- Params:  $1 position bigint
-- Locks:   the cursor's row, after all else; the caller holds subscriptions/hold_lease
-- Rows:    none
-- Index:   dispatch_cursor_pkey
UPDATE dispatch_cursor
SET position = $1
WHERE only_one AND position < $1
