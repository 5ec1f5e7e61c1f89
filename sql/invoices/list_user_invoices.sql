-- invoices/list_user_invoices: read a page of one user's invoices of a period, newest first
-- Params:  $1 user_id bigint
--          $2 statuses text[]       unique, those to include
--          $3 since timestamptz     included
--          $4 until timestamptz     not included
--          $5 before bigint         the last invoice of the page before; the highest bigint: none
--          $6 page_size bigint
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz?, voided_at timestamptz?,
--          reversed_at timestamptz?, reference text?, metadata jsonb?; page_size at most
-- Index:   invoices_user_id_status_created_at_idx, invoices_pkey
WITH cursor AS (
    SELECT
        CASE
            WHEN $5 = 9223372036854775807 THEN 'infinity'
            -- Or the next older one, if it was deleted meanwhile.
            ELSE coalesce(
                (
                    SELECT created_at
                    FROM invoices
                    WHERE id <= $5
                    ORDER BY id DESC
                    LIMIT 1
                ),
                '-infinity'
            )
        END AS created_at
),

-- One bound: with two, the index would be read from the later one on.
bound AS (
    SELECT
        least(created_at, $4) AS created_at,
        CASE WHEN created_at < $4 THEN $5 ELSE 0 END AS id
    FROM cursor
)

SELECT newest.*
FROM unnest($2::text[]) AS wanted (status)
-- A page of each status, whose entries are next to each other in the index.
CROSS JOIN
    LATERAL (  -- noqa: ST05
        SELECT
            invoices.id,
            invoices.user_id,
            invoices.amount,
            invoices.label,
            invoices.status,
            invoices.created_at,
            invoices.paid_at,
            invoices.voided_at,
            invoices.reversed_at,
            invoices.reference,
            invoices.metadata
        FROM invoices
        WHERE
            invoices.user_id = $1
            AND invoices.status = wanted.status
            AND invoices.created_at >= $3
            AND (invoices.created_at, invoices.id)
            < ((SELECT bound.created_at FROM bound), (SELECT bound.id FROM bound))
        ORDER BY invoices.created_at DESC, invoices.id DESC
        LIMIT $6
    ) AS newest
ORDER BY newest.created_at DESC, newest.id DESC
LIMIT $6
