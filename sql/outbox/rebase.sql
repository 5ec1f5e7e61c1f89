-- outbox/rebase: after a logical restore, renumber what is undelivered as this transaction's, in
--     order
-- Params:  none
-- Locks:   none new; the caller holds outbox/lock_log and has run outbox/forget_delivered
-- Rows:    renumbered bigint; one
-- Index:   none, every row is read
WITH undelivered AS (
    DELETE FROM outbox
    RETURNING position, event_id, name, subject, payload, request_id, actor, created_at
),

renumbered AS (
    INSERT INTO outbox (event_id, name, subject, payload, request_id, actor, created_at)
    SELECT
        event_id,
        name,
        subject,
        payload,
        request_id,
        actor,
        created_at
    FROM undelivered
    -- Positions outlive a restore; by them, what this cluster has written since comes last.
    ORDER BY position
    RETURNING position
),

reset AS (
    UPDATE outbox_cursor
    SET
        xid = '0',
        position = 0
)

SELECT count(*) AS renumbered
FROM renumbered
