-- Purpose: read a page of one user's invoices, newest first
-- Params:  $1 user_id bigint
--          $2 statuses text[]     those to include
--          $3 before bigint       only invoices with a lower id
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz; page_size at most
-- Index:   invoices_user_id_idx
SELECT
    id,
    user_id,
    amount,
    label,
    status,
    created_at,
    paid_at
FROM invoices
WHERE user_id = $1 AND status = any($2::text[]) AND id < $3
ORDER BY id DESC
LIMIT $4
