-- invoices/list_invoices: read a page of the invoices of a period, newest first
-- Params:  $1 statuses text[]       unique, those to include
--          $2 since timestamptz     included
--          $3 until timestamptz     not included
--          $4 before bigint         the last invoice of the page before; the highest bigint: none
--          $5 page_size bigint
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, label text, status text,
--          created_at timestamptz, paid_at timestamptz?, voided_at timestamptz?,
--          reversed_at timestamptz?, reference text?, metadata jsonb?; page_size at most
-- Index:   invoices_status_created_at_idx, invoices_pkey
WITH cursor AS (
    SELECT
        CASE
            WHEN $4 = 9223372036854775807 THEN 'infinity'
            -- Or the next older one, if it was deleted meanwhile.
            ELSE coalesce(
                (
                    SELECT created_at
                    FROM invoices
                    WHERE id <= $4
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
        least(created_at, $3) AS created_at,
        CASE WHEN created_at < $3 THEN $4 ELSE 0 END AS id
    FROM cursor
)

SELECT newest.*
FROM unnest($1::text[]) AS wanted (status)
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
            invoices.status = wanted.status
            AND invoices.created_at >= $2
            AND (invoices.created_at, invoices.id)
            < ((SELECT bound.created_at FROM bound), (SELECT bound.id FROM bound))
        ORDER BY invoices.created_at DESC, invoices.id DESC
        LIMIT $5
    ) AS newest
ORDER BY newest.created_at DESC, newest.id DESC
LIMIT $5
