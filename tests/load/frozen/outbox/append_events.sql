-- Purpose: append events to the log, in the transaction that caused them
-- Params:  $1 names text[]         in the order the events happened
--          $2 subjects text[]      same length, as kind:id
--          $3 payloads jsonb[]     same length
--          $4 request_ids text[]   same length; may hold nulls
-- Locks:   none
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO outbox (name, subject, payload, request_id)
SELECT
    event.name,
    event.subject,
    event.payload,
    event.request_id
FROM
    unnest($1::text[], $2::text[], $3::jsonb[], $4::text[])
    WITH ORDINALITY
        AS event (name, subject, payload, request_id, ordinal)
ORDER BY event.ordinal
