-- events/list_newest_events_by_subject: read a page of the log, newest first, by what it happened
--     to
-- Params:  $1 subject text
--          $2 name text?             null: whatever happened to it
--          $3 before bigint          only events with a lower id
--          $4 since timestamptz      of created_at, included
--          $5 until timestamptz      not included
--          $6 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, traceparent text?, created_at timestamptz; page_size at
--          most, newest first
-- Index:   events_subject_idx
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
WHERE
    subject = $1
    AND ($2::text IS NULL OR name = $2)
    AND id < $3
    AND created_at >= $4
    AND created_at < $5
ORDER BY id DESC
LIMIT $6
