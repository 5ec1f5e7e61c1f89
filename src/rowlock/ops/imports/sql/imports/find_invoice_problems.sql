-- imports/find_invoice_problems: find the staged invoices that can't be added, each with the first
--     reason
-- Params:  $1 page_size bigint
-- Locks:   none
-- Rows:    ordinal bigint, line bigint, field text, holder_id bigint?, first_ordinal bigint?,
--          first_line bigint?, total bigint; page_size at most, in the order of the file, each with
--          the invoice or the row of the file that has the same reference, neither if there is no
--          such user, and how many there are in all
-- Index:   users_pkey, invoices_reference_key
WITH refs AS (
    SELECT
        reference,
        min(ordinal) AS ordinal
    FROM import_invoices
    WHERE reference IS NOT NULL
    GROUP BY reference
    HAVING count(*) > 1
),

found AS (
    SELECT
        staged.ordinal,
        1 AS rank,
        'user_id' AS field,
        NULL::bigint AS holder_id,
        NULL::bigint AS first_ordinal
    FROM import_invoices AS staged
    LEFT JOIN users ON staged.user_id = users.id
    WHERE users.id IS NULL
    UNION ALL
    SELECT
        staged.ordinal,
        2 AS rank,
        'reference' AS field,
        NULL AS holder_id,
        refs.ordinal AS first_ordinal
    FROM import_invoices AS staged
    INNER JOIN refs ON staged.reference = refs.reference AND staged.ordinal > refs.ordinal
    UNION ALL
    SELECT
        staged.ordinal,
        3 AS rank,
        'reference' AS field,
        invoices.id AS holder_id,
        NULL AS first_ordinal
    FROM import_invoices AS staged
    INNER JOIN invoices ON staged.reference = invoices.reference
    WHERE invoices.reference IS NOT NULL
),

reasons AS (
    SELECT DISTINCT ON (ordinal) *
    FROM found
    ORDER BY ordinal, rank
)

SELECT
    reasons.ordinal,
    staged.line,
    reasons.field,
    reasons.holder_id,
    reasons.first_ordinal,
    earlier.line AS first_line,
    count(*) OVER () AS total
FROM reasons
INNER JOIN import_invoices AS staged ON reasons.ordinal = staged.ordinal
LEFT JOIN import_invoices AS earlier ON reasons.first_ordinal = earlier.ordinal
ORDER BY reasons.ordinal
LIMIT $1
