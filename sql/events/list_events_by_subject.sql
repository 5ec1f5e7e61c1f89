-- events/list_events_by_subject: read on in the log by what it happened to
-- Params:  $1 subject text
--          $2 name text?         null: whatever happened to it
--          $3 after bigint       only events with a higher id
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, created_at timestamptz; page_size at most, oldest first
-- Index:   events_subject_idx
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
WHERE subject = $1 AND ($2::text IS NULL OR name = $2) AND id > $3
ORDER BY id
LIMIT $4
