-- Purpose: keep an event that the events service refused
-- Params:  $1 xid xid8          of the event in the log
--          $2 position bigint
--          $3 status integer    HTTP
--          $4 error text        what the service answered
-- Locks:   none
-- Rows:    none
-- Index:   outbox_pkey
INSERT INTO outbox_dead_letters (
    event_id, name, subject, payload, request_id, created_at, status, error
)
SELECT
    event_id,
    name,
    subject,
    payload,
    request_id,
    created_at,
    $3 AS status,
    $4 AS error
FROM outbox
WHERE xid = $1 AND position = $2
ON CONFLICT (event_id) DO UPDATE
    SET
        status = excluded.status,
        error = excluded.error,
        refused_at = excluded.refused_at
