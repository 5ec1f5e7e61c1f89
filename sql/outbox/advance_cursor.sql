-- outbox/advance_cursor: note that the log is delivered up to an event, if the relay still leads
-- Params:  $1 lease text             the relay's
--          $2 epoch bigint           of that lease
--          $3 xid xid8               of the last event delivered
--          $4 position bigint        of that event
--          $5 last_position bigint   the highest position among the events just delivered
--          $6 log text?              whose mark is now at that event; null: no log's
-- Locks:   the lease's row FOR SHARE, so that no process takes or renews it meanwhile; the
--          cursor's row
-- Rows:    leads boolean; one
-- Index:   leases_pkey
WITH lease AS (
    SELECT epoch
    FROM leases
    WHERE name = $1 AND epoch = $2
    FOR SHARE
),

advanced AS (
    UPDATE outbox_cursor
    SET
        xid = $3,
        position = $4,
        last_position = greatest(outbox_cursor.last_position, $5),
        advanced_at = now(),
        log = coalesce($6, outbox_cursor.log),
        mark_xid = CASE WHEN $6 IS NULL THEN outbox_cursor.mark_xid ELSE $3 END,
        mark_position = CASE WHEN $6 IS NULL THEN outbox_cursor.mark_position ELSE $4 END
    FROM lease
    WHERE (outbox_cursor.xid, outbox_cursor.position) < ($3, $4)
)

SELECT exists(SELECT 1 FROM lease) AS leads
