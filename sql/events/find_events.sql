-- events/find_events: read events by their place in the log
-- Params:  $1 ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, traceparent text?, created_at timestamptz; one per
--          event found
-- Index:   events_pkey
SELECT
    id,
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    traceparent,
    created_at
FROM events
WHERE id = any($1::bigint[])
