-- drill/list_invoices: audit after a drill: every invoice
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, user_id bigint, status text, amount bigint, reference text?; one per invoice
-- Index:   none, every row is read
SELECT
    id,
    user_id,
    status,
    amount,
    reference
FROM invoices
