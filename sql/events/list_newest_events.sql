-- events/list_newest_events: read a page of the log, newest first
-- Params:  $1 before bigint          only events with a lower id
--          $2 since timestamptz      of created_at, included
--          $3 until timestamptz      not included
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, traceparent text?, created_at timestamptz; page_size at
--          most, newest first
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
WHERE id < $1 AND created_at >= $2 AND created_at < $3
ORDER BY id DESC
LIMIT $4
