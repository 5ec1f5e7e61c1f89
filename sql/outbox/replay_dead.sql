-- outbox/replay_dead: put refused events back into the log, to be sent again
-- Params:  $1 event_ids uuid[]
-- Locks:   the rows moved
-- Rows:    event_id uuid; one per event put back
-- Index:   outbox_dead_letters_pkey
WITH replayed AS (
    DELETE FROM outbox_dead_letters
    WHERE event_id = any($1::uuid[])
    RETURNING event_id, name, subject, payload, request_id, actor, traceparent, created_at
)

INSERT INTO outbox (event_id, name, subject, payload, request_id, actor, traceparent, created_at)
SELECT
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    traceparent,
    created_at
FROM replayed
ORDER BY created_at, event_id
RETURNING event_id
