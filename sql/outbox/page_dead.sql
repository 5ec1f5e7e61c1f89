-- outbox/page_dead: read on in the events that were refused, in the order in which they happened
-- Params:  $1 created_at timestamptz   of the last one read
--          $2 event_id uuid
--          $3 page_size bigint
-- Locks:   none
-- Rows:    created_at timestamptz, event_id uuid; page_size at most, in order
-- Index:   none, there should be few
SELECT
    created_at,
    event_id
FROM outbox_dead_letters
WHERE (created_at, event_id) > ($1, $2)
ORDER BY created_at, event_id
LIMIT $3
