-- invoices/lock_invoices: lock the invoices that a batch will pay, void or reverse, and
--     read them
-- Params:  $1 invoice_ids bigint[]   unique
-- Locks:   invoices rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz?, voided_at timestamptz?,
--          reversed_at timestamptz?, reference text?, metadata jsonb?; one per invoice found
-- Index:   invoices_pkey
SELECT
    id,
    user_id,
    amount,
    label,
    status,
    created_at,
    paid_at,
    voided_at,
    reversed_at,
    reference,
    metadata
FROM invoices
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE
