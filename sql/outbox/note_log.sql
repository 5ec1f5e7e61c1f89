-- outbox/note_log: note what the events service says of its log, if the relay still leads
-- Params:  $1 lease text              the relay's
--          $2 epoch bigint            of that lease
--          $3 log text                what the log is called
--          $4 mark_xid xid8?          how far it has this outbox; null: not at all
--          $5 mark_position bigint?
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

noted AS (
    UPDATE outbox_cursor
    SET
        log = $3,
        mark_xid = $4,
        mark_position = $5
    FROM lease
)

SELECT exists(SELECT 1 FROM lease) AS leads
