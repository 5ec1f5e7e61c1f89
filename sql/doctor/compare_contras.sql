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

document AS (
    SELECT
        'sales' AS contra,
        -sum(amount) AS total
    FROM orders
    WHERE status = 'approved' AND user_id IS NOT NULL
    UNION ALL
    SELECT
        'payables' AS contra,
        sum(amount) AS total
    FROM invoices
    WHERE status = 'paid'
)

SELECT
    document.contra,
    coalesce(ledger.total, 0) AS ledger_total,
    coalesce(document.total, 0) AS documents_total
FROM document
LEFT JOIN ledger ON document.contra = ledger.contra
WHERE coalesce(ledger.total, 0) <> coalesce(document.total, 0)
