-- events/list_events_between: read on in a time of the log
-- Params:  $1 after bigint           only events with a higher id
--          $2 since timestamptz      of created_at, included
--          $3 until timestamptz      not included
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, event_id uuid, name text, subject text?, payload jsonb,
--          request_id text?, actor text?, traceparent text?, created_at timestamptz,
--          epoch uuid?; page_size at most, oldest first
-- Index:   events_pkey, cluster_epochs_pkey
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
WHERE id > $1 AND created_at >= $2 AND created_at < $3
ORDER BY id
LIMIT $4
