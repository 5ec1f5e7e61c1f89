-- events/list_events_by_subject: read on in the log by what it happened to
-- Params:  $1 subject text
--          $2 name text?             null: whatever happened to it
--          $3 after bigint           only events with a higher id
--          $4 since timestamptz      of created_at, included
--          $5 until timestamptz      not included
--          $6 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, traceparent text?, created_at timestamptz,
--          epoch uuid?; page_size at most, oldest first
-- Index:   events_subject_idx, cluster_epochs_pkey
SELECT
    id,
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    traceparent,
    created_at,
    -- That of the log, by which readers know that it was cut.
    (
        SELECT cluster_epochs.identity
        FROM cluster_epochs
        ORDER BY cluster_epochs.number DESC
        LIMIT 1
    ) AS epoch
FROM events
WHERE
    subject = $1
    AND ($2::text IS NULL OR name = $2)
    AND id > $3
    AND created_at >= $4
    AND created_at < $5
ORDER BY id
LIMIT $6
