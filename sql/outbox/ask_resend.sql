-- outbox/ask_resend: ask the relay to go back to a place, or further if another request says so
-- Params:  $1 xid xid8        the last event that need not be delivered again
--          $2 position bigint
-- Locks:   the cursor's row
-- Rows:    xid xid8, position bigint; one, how far the log is delivered now
-- Index:   none, the table has one row
UPDATE outbox_cursor
SET
    resend_xid = CASE
        WHEN (outbox_cursor.resend_xid, outbox_cursor.resend_position) < ($1, $2)
            THEN outbox_cursor.resend_xid
        ELSE $1
    END,
    resend_position = CASE
        WHEN (outbox_cursor.resend_xid, outbox_cursor.resend_position) < ($1, $2)
            THEN outbox_cursor.resend_position
        ELSE $2
    END
RETURNING outbox_cursor.xid, outbox_cursor.position
