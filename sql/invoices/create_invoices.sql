-- invoices/create_invoices: issue invoices
-- Params:  $1 user_ids bigint[]   one per invoice, known to exist
--          $2 amounts bigint[]    minor units, same length
--          $3 labels text[]       same length
-- Locks:   users rows FOR KEY SHARE, by the foreign key
-- Rows:    id bigint, created_at timestamptz; one per invoice, in the order of the input:
--          ids are drawn in that order
-- Index:   none, rows are only added
WITH issued AS (
    INSERT INTO invoices (user_id, amount, label, created_at)
    SELECT
        new.user_id,
        new.amount,
        new.label,
        statement_timestamp() AS created_at
    FROM
        unnest($1::bigint[], $2::bigint[], $3::text[])
        WITH ORDINALITY
            AS new (user_id, amount, label, ordinal)
    ORDER BY new.ordinal
    RETURNING id, created_at
)

SELECT
    id,
    created_at
FROM issued
ORDER BY id
