-- events/list_newest_events_by_name: read a page of the log, newest first, by what happened
-- Params:  $1 name text
--          $2 before bigint      only events with a lower id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, created_at timestamptz; page_size at most, newest first
-- Index:   events_name_idx
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
WHERE name = $1 AND id < $2
ORDER BY id DESC
LIMIT $3
