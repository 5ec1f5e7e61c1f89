-- outbox/list_dead: list the events that the events service refused, oldest first
-- Params:  $1 page_size bigint
-- Locks:   none
-- Rows:    event_id uuid, name text, subject text, status integer, error text,
--          request_id text?, actor text?, refused_at timestamptz; page_size at most
-- Index:   none, there should be few
SELECT
    event_id,
    name,
    subject,
    status,
    error,
    request_id,
    actor,
    refused_at
FROM outbox_dead_letters
ORDER BY refused_at, event_id
LIMIT $1
