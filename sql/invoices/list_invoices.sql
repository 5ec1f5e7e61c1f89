-- invoices/list_invoices: read a page of invoices, newest first
-- Params:  $1 before bigint      only invoices with a lower id
--          $2 page_size bigint
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz?; page_size at most
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
WHERE id < $1
ORDER BY id DESC
LIMIT $2
