-- invoices/find_by_reference: read the invoice that has a reference
-- Params:  $1 reference text
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz?, voided_at timestamptz?,
--          reversed_at timestamptz?, reference text?, metadata jsonb?; one, or none
-- Index:   invoices_reference_key
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
WHERE reference = $1
