-- Purpose: lock the invoices that a batch will pay, and read them
-- Params:  $1 invoice_ids bigint[]   unique
-- Locks:   invoices rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz; one per invoice found
-- Index:   invoices_pkey
SELECT
    id,
    user_id,
    amount,
    label,
    status,
    created_at,
    paid_at
FROM invoices
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE
