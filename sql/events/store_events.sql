-- events/store_events: store new events and their keys
-- Params:  $1 event_ids uuid[]            unique, not stored yet; in the order of the log
--          $2 names text[]                same length
--          $3 subjects text?[]            same length
--          $4 payloads jsonb[]            same length
--          $5 request_ids text?[]         same length
--          $6 actors text?[]              same length
--          $7 traceparents text?[]        same length
--          $8 created_ats timestamptz[]   same length
-- Locks:   none new; the caller holds events/lock_log
-- Rows:    id bigint; one per event, in the order of the input: ids are drawn in that order
-- Index:   none, rows are only added
WITH stored AS (
    INSERT INTO events (
        event_id, name, subject, payload, request_id, actor, traceparent, created_at
    )
    SELECT
        new.event_id,
        new.name,
        new.subject,
        new.payload,
        new.request_id,
        new.actor,
        new.traceparent,
        new.created_at
    FROM
        unnest(
            $1::uuid[],
            $2::text[],
            $3::text[],
            $4::jsonb[],
            $5::text[],
            $6::text[],
            $7::text[],
            $8::timestamptz[]
        )
        WITH ORDINALITY
            AS new (
                event_id,
                name,
                subject,
                payload,
                request_id,
                actor,
                traceparent,
                created_at,
                ordinal
            )
    ORDER BY new.ordinal
    RETURNING id, event_id, created_at
),

keyed AS (
    INSERT INTO event_keys (event_id, id, created_at)
    SELECT
        event_id,
        id,
        created_at
    FROM stored
)

SELECT id
FROM stored
ORDER BY id
