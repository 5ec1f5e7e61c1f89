-- invoices/create_invoices: issue invoices, and append the events
-- Params:  $1 user_ids bigint[]     one per invoice, known to exist
--          $2 amounts bigint[]      minor units, same length
--          $3 labels text[]         same length
--          $4 request_ids text?[]   same length
--          $5 actors text[]         same length
-- Locks:   users rows FOR KEY SHARE, by the foreign key
-- Rows:    id bigint, created_at timestamptz; one per invoice, in the order of the input:
--          ids are drawn in that order
-- Index:   none, rows are only added
WITH new AS (
    SELECT *
    FROM
        unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])
        WITH ORDINALITY
            AS input (user_id, amount, label, request_id, actor, ordinal)
),

issued AS (
    INSERT INTO invoices (user_id, amount, label, created_at)
    SELECT
        user_id,
        amount,
        label,
        statement_timestamp() AS created_at
    FROM new
    ORDER BY ordinal
    RETURNING id, user_id, amount, label, created_at
),

numbered AS (
    SELECT
        *,
        row_number() OVER (ORDER BY id) AS ordinal
    FROM issued
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, created_at)
    SELECT
        'invoice.created' AS name,
        'invoice:' || numbered.id AS subject,
        jsonb_build_object(
            'invoice_id', numbered.id,
            'user_id', numbered.user_id,
            'amount', numbered.amount,
            'label', numbered.label
        ) AS payload,
        new.request_id,
        new.actor,
        numbered.created_at
    FROM numbered
    INNER JOIN new ON numbered.ordinal = new.ordinal
    ORDER BY numbered.ordinal
)

SELECT
    id,
    created_at
FROM numbered
ORDER BY id
