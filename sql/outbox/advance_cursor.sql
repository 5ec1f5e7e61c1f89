-- Purpose: note that the log is delivered up to an event
-- Params:  $1 xid xid8
--          $2 position bigint
--          $3 last_position bigint   the highest position among the events just delivered
-- Locks:   the cursor's row
-- Rows:    none
-- Index:   none, there is one row
UPDATE outbox_cursor
SET
    xid = $1,
    position = $2,
    last_position = greatest(last_position, $3),
    advanced_at = now()
WHERE (xid, position) < ($1, $2)
