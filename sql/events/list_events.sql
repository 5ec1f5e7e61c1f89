-- events/list_events: read on in the log
-- Params:  $1 after bigint       only events with a higher id
--          $2 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, created_at timestamptz; page_size at most, oldest first
-- Index:   events_pkey
SELECT
    id,
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    created_at
FROM events
WHERE id > $1
ORDER BY id
LIMIT $2
