-- transfers/list_transfers: read a page of the transfers of a period, newest first
-- Params:  $1 since timestamptz     included
--          $2 until timestamptz     not included
--          $3 before bigint         the last transfer of the page before; the highest bigint: none
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, from_user_id bigint, to_user_id bigint, amount bigint, label text,
--          reference text?, metadata jsonb?, created_at timestamptz; page_size at most
-- Index:   transfers_created_at_idx, transfers_pkey
WITH cursor AS (
    SELECT
        CASE
            WHEN $3 = 9223372036854775807 THEN 'infinity'
            ELSE coalesce(
                (
                    SELECT created_at
                    FROM transfers
                    WHERE id <= $3
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
        least(created_at, $2) AS created_at,
        CASE WHEN created_at < $2 THEN $3 ELSE 0 END AS id
    FROM cursor
)

SELECT
    id,
    from_user_id,
    to_user_id,
    amount,
    label,
    reference,
    metadata,
    created_at
FROM transfers
WHERE
    created_at >= $1
    AND (created_at, id) < ((SELECT bound.created_at FROM bound), (SELECT bound.id FROM bound))
ORDER BY created_at DESC, id DESC
LIMIT $4
