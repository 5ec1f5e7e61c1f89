-- outbox/append_events: append events to the log, in the transaction that caused them
-- Params:  $1 names text[]                 in the order the events happened
--          $2 subjects text[]              same length, as kind:id
--          $3 payloads jsonb[]             same length
--          $4 request_ids text?[]          same length
--          $5 actors text[]                same length
--          $6 traceparents text?[]         same length
--          $7 created_ats timestamptz?[]   same length; null: now
-- Locks:   none
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
SELECT
    event.name,
    event.subject,
    event.payload,
    event.request_id,
    event.actor,
    event.traceparent,
    -- The transaction's now() may be older than what it has waited for.
    coalesce(event.created_at, statement_timestamp()) AS created_at
FROM
    unnest(
        $1::text[],
        $2::text[],
        $3::jsonb[],
        $4::text[],
        $5::text[],
        $6::text[],
        $7::timestamptz[]
    )
    WITH ORDINALITY
        AS event (name, subject, payload, request_id, actor, traceparent, created_at, ordinal)
ORDER BY event.ordinal
