-- events/list_newest_events_by_name: read a page of the log, newest first, by what happened
-- Params:  $1 name text
--          $2 before bigint          only events with a lower id
--          $3 since timestamptz      of created_at, included
--          $4 until timestamptz      not included
--          $5 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, traceparent text?, created_at timestamptz; page_size at
--          most, newest first
-- Index:   events_name_idx
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
WHERE name = $1 AND id < $2 AND created_at >= $3 AND created_at < $4
ORDER BY id DESC
LIMIT $5
