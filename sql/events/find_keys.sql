-- events/find_keys: tell which events are stored already
-- Params:  $1 event_ids uuid[]   unique
-- Locks:   none new; the caller holds events/lock_log, so the answer stays true
-- Rows:    event_id uuid, id bigint; one per event found
-- Index:   event_keys_pkey
SELECT
    event_id,
    id
FROM event_keys
WHERE event_id = any($1::uuid[])
