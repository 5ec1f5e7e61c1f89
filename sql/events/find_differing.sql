-- events/find_differing: tell which of these events are stored with another content
-- Params:  $1 event_ids uuid[]              may repeat
--          $2 names text[]                  same length
--          $3 subjects text?[]              same length
--          $4 payloads jsonb[]              same length
--          $5 created_ats timestamptz?[]    same length; null: the sender does not say
-- Locks:   none new; the caller holds events/lock_log, so the answer stays true
-- Rows:    ordinal bigint; one per event that differs: its place in the input, from 1
-- Index:   event_keys_pkey, events_pkey
SELECT given.ordinal
FROM
    unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::timestamptz[])
    WITH ORDINALITY
        AS given (event_id, name, subject, payload, created_at, ordinal)
INNER JOIN event_keys ON given.event_id = event_keys.event_id
INNER JOIN events ON event_keys.id = events.id AND event_keys.created_at = events.created_at
WHERE
    given.name != events.name
    OR given.subject IS DISTINCT FROM events.subject
    OR given.payload != events.payload
    OR given.created_at != events.created_at
