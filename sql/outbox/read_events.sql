-- outbox/read_events: read on in the log; nothing is skipped when transactions commit out of order
-- Params:  $1 xid xid8           the last event delivered
--          $2 position bigint
--          $3 page_size bigint
-- Locks:   none
-- Rows:    xid xid8, position bigint, event_id uuid, name text, subject text, payload jsonb,
--          request_id text?, actor text?, traceparent text?, created_at timestamptz; page_size at
--          most, in order
-- Index:   outbox_pkey
SELECT
    xid,
    position,
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    traceparent,
    created_at
FROM outbox
WHERE
    (xid, position) > ($1, $2)
    AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, position
LIMIT $3
