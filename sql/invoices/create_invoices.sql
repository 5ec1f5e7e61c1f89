-- invoices/create_invoices: issue invoices, and append the events
-- Params:  $1 user_ids bigint[]      one per invoice, known to exist
--          $2 amounts bigint[]       minor units, same length
--          $3 labels text[]          same length
--          $4 refs text?[]           same length, unique but for nulls: the references
--          $5 metadata jsonb?[]      same length
--          $6 request_ids text?[]    same length
--          $7 actors text[]          same length
--          $8 traceparents text?[]   same length
-- Locks:   users rows FOR KEY SHARE, by the foreign key; the references: another transaction that
--          issues one of them waits
-- Rows:    id bigint, created_at timestamptz; one per invoice, in the order of the input:
--          ids are drawn in that order, but invoices with references come first, in the order of
--          these
-- Index:   none, rows are only added
WITH new AS (
    SELECT
        *,
        -- By references: two transactions wait for each other's at most in one direction.
        row_number() OVER (ORDER BY reference COLLATE "C", ordinal) AS place
    FROM
        unnest(
            $1::bigint[],
            $2::bigint[],
            $3::text[],
            $4::text[],
            $5::jsonb[],
            $6::text[],
            $7::text[],
            $8::text[]
        )
        WITH ORDINALITY
            AS input (
                user_id,
                amount,
                label,
                reference,
                metadata,
                request_id,
                actor,
                traceparent,
                ordinal
            )
),

issued AS (
    INSERT INTO invoices (user_id, amount, label, reference, metadata, created_at)
    SELECT
        user_id,
        amount,
        label,
        reference,
        metadata,
        statement_timestamp() AS created_at
    FROM new
    ORDER BY place
    RETURNING id, user_id, amount, label, created_at
),

drawn AS (
    SELECT
        *,
        row_number() OVER (ORDER BY id) AS place
    FROM issued
),

numbered AS (
    SELECT
        drawn.*,
        new.request_id,
        new.actor,
        new.traceparent,
        new.ordinal
    FROM drawn
    INNER JOIN new ON drawn.place = new.place
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'invoice.created' AS name,
        'invoice:' || id AS subject,
        jsonb_build_object(
            'invoice_id', id,
            'user_id', user_id,
            'amount', amount,
            'label', label
        ) AS payload,
        request_id,
        actor,
        traceparent,
        created_at
    FROM numbered
    ORDER BY ordinal
)

SELECT
    id,
    created_at
FROM numbered
ORDER BY ordinal
