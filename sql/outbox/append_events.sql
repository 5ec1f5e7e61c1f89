-- Purpose: append events to the log, in the transaction that caused them
-- Params:  $1 names text[]         in the order the events happened
--          $2 subjects text[]      same length, as kind:id
--          $3 payloads jsonb[]     same length
-- Locks:   none
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO outbox (name, subject, payload)
SELECT
    event.name,
    event.subject,
    event.payload
FROM
    unnest($1::text[], $2::text[], $3::jsonb[])
    WITH ORDINALITY
        AS event (name, subject, payload, ordinal)
ORDER BY event.ordinal
