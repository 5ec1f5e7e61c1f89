-- invoices/void_invoices: mark invoices as void, as decided by invoices.rules, and append the
--     events
-- Params:  $1 invoice_ids bigint[]   unique, in the order of the decisions
--          $2 payloads jsonb[]       same length; of the events, to which voided_at is added
--          $3 request_ids text?[]    same length
--          $4 actors text[]          same length
--          $5 traceparents text?[]   same length
-- Locks:   none new; the caller holds invoices/lock_invoices
-- Rows:    id bigint, voided_at timestamptz; one per input
-- Index:   invoices_pkey
WITH ended AS (
    UPDATE invoices
    SET
        status = 'void',
        voided_at = greatest(statement_timestamp(), created_at)
    -- Not a join: planned while there are few invoices, it would go on to read all.
    WHERE id = any($1::bigint[])
    RETURNING id, voided_at
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'invoice.voided' AS name,
        'invoice:' || ended.id AS subject,
        voiding.payload || jsonb_build_object(
            'voided_at',
            to_char(ended.voided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS payload,
        voiding.request_id,
        voiding.actor,
        voiding.traceparent,
        ended.voided_at
    FROM
        unnest($1::bigint[], $2::jsonb[], $3::text[], $4::text[], $5::text[])
        WITH ORDINALITY
            AS voiding (invoice_id, payload, request_id, actor, traceparent, ordinal)
    INNER JOIN ended ON voiding.invoice_id = ended.id
    ORDER BY voiding.ordinal
)

SELECT
    id,
    voided_at
FROM ended
