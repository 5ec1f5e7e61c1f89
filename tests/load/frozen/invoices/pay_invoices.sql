-- Purpose: mark invoices as paid, as decided by invoices.rules
-- Params:  $1 invoice_ids bigint[]   unique
-- Locks:   none new; the caller holds invoices/lock_invoices
-- Rows:    id bigint, paid_at timestamptz; one per input
-- Index:   invoices_pkey
UPDATE invoices
SET
    status = 'paid',
    paid_at = now()
WHERE id = any($1::bigint[])
RETURNING id, paid_at
