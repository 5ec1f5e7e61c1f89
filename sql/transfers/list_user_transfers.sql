-- transfers/list_user_transfers: read a page of the transfers of a period that one user has made
--     or got, newest first
-- Params:  $1 user_id bigint
--          $2 since timestamptz     included
--          $3 until timestamptz     not included
--          $4 before bigint         the last transfer of the page before; the highest bigint: none
--          $5 page_size bigint
-- Locks:   none
-- Rows:    id bigint, from_user_id bigint, to_user_id bigint, amount bigint, label text,
--          reference text?, metadata jsonb?, created_at timestamptz; page_size at most
-- Index:   transfers_from_user_id_created_at_idx, transfers_to_user_id_created_at_idx,
--          transfers_pkey
WITH cursor AS (
    SELECT
        CASE
            WHEN $4 = 9223372036854775807 THEN 'infinity'
            ELSE coalesce(
                (
                    SELECT created_at
                    FROM transfers
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
),

-- A page of each direction, whose entries are next to each other in an index. No transfer is in
-- both, as none goes to oneself.
made AS (
    SELECT *
    FROM transfers
    WHERE
        from_user_id = $1
        AND created_at >= $2
        AND (created_at, id) < ((SELECT bound.created_at FROM bound), (SELECT bound.id FROM bound))
    ORDER BY created_at DESC, id DESC
    LIMIT $5
),

got AS (
    SELECT *
    FROM transfers
    WHERE
        to_user_id = $1
        AND created_at >= $2
        AND (created_at, id) < ((SELECT bound.created_at FROM bound), (SELECT bound.id FROM bound))
    ORDER BY created_at DESC, id DESC
    LIMIT $5
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
FROM (
    SELECT * FROM made
    UNION ALL
    SELECT * FROM got
) AS newest
ORDER BY created_at DESC, id DESC
LIMIT $5
