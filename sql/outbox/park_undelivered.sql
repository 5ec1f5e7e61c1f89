-- outbox/park_undelivered: take events that are not delivered yet out of the log, as dead letters
-- Params:  $1 event_ids uuid[]
--          $2 error text         why
-- Locks:   the rows moved
-- Rows:    event_id uuid; one per event parked
-- Index:   outbox_pkey
WITH taken AS (
    DELETE FROM outbox
    USING outbox_cursor AS last
    WHERE
        outbox.event_id = any($1::uuid[])
        AND (outbox.xid, outbox.position) > (last.xid, last.position)
    RETURNING
        outbox.event_id,
        outbox.name,
        outbox.subject,
        outbox.payload,
        outbox.request_id,
        outbox.actor,
        outbox.traceparent,
        outbox.created_at
)

INSERT INTO outbox_dead_letters (
    event_id, name, subject, payload, request_id, actor, traceparent, created_at, status, error
)
SELECT
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    traceparent,
    created_at,
    0 AS status,
    $2 AS error
FROM taken
ON CONFLICT (event_id) DO UPDATE
    SET
        status = excluded.status,
        error = excluded.error,
        refused_at = excluded.refused_at
RETURNING event_id
