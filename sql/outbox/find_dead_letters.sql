-- outbox/find_dead_letters: read events that were refused
-- Params:  $1 event_ids uuid[]   unique
-- Locks:   none
-- Rows:    event_id uuid, name text, subject text, payload jsonb, request_id text?, actor text?,
--          created_at timestamptz, status integer, error text, refused_at timestamptz;
--          one per event found
-- Index:   outbox_dead_letters_pkey
SELECT
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    created_at,
    status,
    error,
    refused_at
FROM outbox_dead_letters
WHERE event_id = any($1::uuid[])
