-- outbox/rebase: after a logical restore, renumber what is undelivered as this transaction's, in
--     order
-- Params:  none
-- Locks:   none new; the caller holds outbox/lock_marks and outbox/lock_log, and
--          has run outbox/forget_delivered
-- Rows:    renumbered bigint; one
-- Index:   none, every row is read
WITH undelivered AS (
    DELETE FROM outbox
    RETURNING position, event_id, name, subject, payload, request_id, actor, traceparent, created_at
),

renumbered AS (
    INSERT INTO outbox (
        event_id, name, subject, payload, request_id, actor, traceparent, created_at
    )
    SELECT
        event_id,
        name,
        subject,
        payload,
        request_id,
        actor,
        traceparent,
        created_at
    FROM undelivered
    -- Positions outlive a restore; by them, what this cluster has written since comes last.
    ORDER BY position
    RETURNING position
),

-- Places in the log mean something else now.
unmarked AS (
    DELETE FROM outbox_marks
),

reset AS (
    UPDATE outbox_cursor
    SET
        xid = '0',
        position = 0,
        log = NULL,
        mark_xid = NULL,
        mark_position = NULL,
        resend_xid = NULL,
        resend_position = NULL
)

SELECT count(*) AS renumbered
FROM renumbered
