-- invoices/list_user_invoices: read a page of one user's invoices, newest first
-- Params:  $1 user_id bigint
--          $2 statuses text[]    unique, those to include
--          $3 before bigint      only invoices with a lower id
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz?; page_size at most
-- Index:   invoices_user_id_status_idx, invoices_pkey
WITH newest AS (
    -- A page of each status, whose entries are next to each other in the index.
    SELECT
        unnest(
            array(
                SELECT invoices.id
                FROM invoices
                WHERE
                    invoices.user_id = $1
                    AND invoices.status = wanted.status
                    AND invoices.id < $3
                ORDER BY invoices.id DESC
                LIMIT $4
            )
        ) AS id
    FROM unnest($2::text[]) AS wanted (status)
)

SELECT
    invoices.id,
    invoices.user_id,
    invoices.amount,
    invoices.label,
    invoices.status,
    invoices.created_at,
    invoices.paid_at
FROM invoices
INNER JOIN newest ON invoices.id = newest.id
ORDER BY invoices.id DESC
LIMIT $4
