-- drill/list_invoices: audit after a drill: every invoice
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, status text, amount bigint; one per invoice
-- Index:   none, every row is read
SELECT
    id,
    status,
    amount
FROM invoices
