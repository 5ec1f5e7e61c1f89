-- doctor/compare_contras: audit the contra accounts: each is the total of its documents
-- Params:  none
-- Locks:   none
-- Rows:    contra text, ledger_total numeric, documents_total numeric; one per difference
-- Index:   none, every row of the tables is read
WITH ledger AS (
    SELECT
        contra,
        sum(amount) AS total
    FROM ledger_entries
    GROUP BY contra
),

sale AS (
    SELECT -amount AS amount
    FROM orders
    WHERE status = 'approved' AND user_id IS NOT NULL
    UNION ALL
    SELECT amount
    FROM refunds
),

document AS (
    SELECT
        'sales' AS contra,
        sum(amount) AS total
    FROM sale
    UNION ALL
    SELECT
        'payables' AS contra,
        sum(amount) AS total
    FROM invoices
    -- A reversed one was paid, and has given that back.
    WHERE status = 'paid'
    UNION ALL
    SELECT
        'transfers' AS contra,
        0 AS total
)

SELECT
    document.contra,
    coalesce(ledger.total, 0) AS ledger_total,
    coalesce(document.total, 0) AS documents_total
FROM document
LEFT JOIN ledger ON document.contra = ledger.contra
WHERE coalesce(ledger.total, 0) <> coalesce(document.total, 0)
