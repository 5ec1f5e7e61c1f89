-- invoices/list_invoices_by_status: read a page of the invoices in one status, newest first
-- Params:  $1 status text
--          $2 before bigint      only invoices with a lower id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz?; page_size at most
-- Index:   invoices_status_idx
SELECT
    id,
    user_id,
    amount,
    label,
    status,
    created_at,
    paid_at
FROM invoices
WHERE status = $1 AND id < $2
ORDER BY id DESC
LIMIT $3
