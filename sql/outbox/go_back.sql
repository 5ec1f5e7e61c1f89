-- outbox/go_back: set the cursor back to a place, if the relay still leads; what follows is
--     delivered again
-- Params:  $1 lease text               the relay's
--          $2 epoch bigint             of that lease
--          $3 xid xid8                 the last event that need not be delivered again
--          $4 position bigint
--          $5 reason text              log_changed, mark_behind or resend
--          $6 events bigint            as outbox/find_kept has found them
--          $7 kept_since timestamptz?
--          $8 complete boolean
-- Locks:   the lease's row FOR SHARE, so that no process takes or renews it meanwhile; the
--          cursor's row; the caller holds outbox/lock_marks
-- Rows:    leads boolean; one
-- Index:   leases_pkey
WITH lease AS (
    SELECT epoch
    FROM leases
    WHERE name = $1 AND epoch = $2
    FOR SHARE
),

moved AS (
    UPDATE outbox_cursor
    SET
        xid = $3,
        position = $4,
        resend_xid = NULL,
        resend_position = NULL
    FROM lease
),

-- What is delivered again is kept from then on.
unmarked AS (
    DELETE FROM outbox_marks
    USING lease
    WHERE (outbox_marks.xid, outbox_marks.position) > ($3, $4)
),

forgotten AS (
    DELETE FROM outbox_rewinds
    USING lease
    WHERE
        outbox_rewinds.at < now() - interval '90 days'
        AND (outbox_rewinds.complete OR outbox_rewinds.accepted_at IS NOT NULL)
),

recorded AS (
    INSERT INTO outbox_rewinds (reason, xid, position, events, kept_since, complete)
    SELECT
        $5 AS reason,
        $3 AS xid,
        $4 AS position,
        $6 AS events,
        $7 AS kept_since,
        $8 AS complete
    FROM lease
)

SELECT exists(SELECT 1 FROM lease) AS leads
