-- imports/add_invoices: add a page of the staged invoices, all pending, with their events
-- Params:  $1 after bigint   ordinal
--          $2 upto bigint    ordinal
--          $3 actor text
-- Locks:   users rows FOR KEY SHARE, by the foreign key; a reference that another transaction is
--          using is waited for
-- Rows:    added bigint; one
-- Index:   none, the page is from a table of this session's
WITH page AS (
    SELECT *
    FROM import_invoices
    WHERE ordinal > $1 AND ordinal <= $2
    ORDER BY ordinal
),

added AS (
    INSERT INTO invoices (user_id, amount, label, reference, created_at)
    SELECT
        user_id,
        amount,
        label,
        reference,
        coalesce(created_at, statement_timestamp()) AS created_at
    FROM page
    RETURNING id, user_id, amount, label, reference, created_at
),

told AS (
    INSERT INTO outbox (name, subject, payload, actor, created_at)
    SELECT
        'invoice.created' AS name,
        'invoice:' || id AS subject,
        jsonb_build_object(
            'invoice_id', id,
            'user_id', user_id,
            'amount', amount,
            'label', label,
            'invoice_created_at',
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS payload,
        $3 AS actor,
        statement_timestamp() AS created_at
    FROM added
)

SELECT count(*) AS added
FROM added
