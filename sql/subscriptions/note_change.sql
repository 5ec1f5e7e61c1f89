-- subscriptions/note_change: let the dispatcher know that subscriptions have changed
-- Params:  none
-- Locks:   the cursor's row, after all else
-- Rows:    none
-- Index:   dispatch_cursor_pkey
UPDATE dispatch_cursor
SET version = version + 1
WHERE only_one
