-- outbox/advance_cursor: note that the log is delivered up to an event, if the relay still leads
-- Params:  $1 epoch bigint           of the relay's lease
--          $2 xid xid8               of the last event delivered
--          $3 position bigint
--          $4 last_position bigint   the highest position among the events just delivered
-- Locks:   the lease's row FOR SHARE, so that no process takes it meanwhile; the cursor's row
-- Rows:    leads boolean; one
-- Index:   leases_pkey
WITH lease AS (
    SELECT epoch
    FROM leases
    WHERE name = 'relay' AND epoch = $1
    FOR SHARE
),

advanced AS (
    UPDATE outbox_cursor
    SET
        xid = $2,
        position = $3,
        last_position = greatest(outbox_cursor.last_position, $4),
        advanced_at = now()
    FROM lease
    WHERE (outbox_cursor.xid, outbox_cursor.position) < ($2, $3)
)

SELECT exists(SELECT 1 FROM lease) AS leads
