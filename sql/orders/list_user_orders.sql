-- orders/list_user_orders: read a page of the ids of one user's orders of a period, newest first
-- Params:  $1 user_id bigint
--          $2 statuses text[]     unique, those to include
--          $3 since timestamptz   included
--          $4 until timestamptz   not included
--          $5 before bigint       the last order of the page before; the highest bigint: none
--          $6 page_size bigint
-- Locks:   none
-- Rows:    id bigint; page_size at most
-- Index:   orders_user_id_status_created_at_idx, orders_pkey
WITH cursor AS (
    SELECT
        CASE
            WHEN $5 = 9223372036854775807 THEN 'infinity'
            -- Or the next older one, if it was deleted meanwhile.
            ELSE coalesce(
                (
                    SELECT last.created_at
                    FROM orders AS last
                    WHERE last.id <= $5
                    ORDER BY last.id DESC
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

SELECT newest.id
FROM unnest($2::text[]) AS wanted (status)
CROSS JOIN bound
-- A page of each status, whose entries are next to each other in the index.
CROSS JOIN
    LATERAL (
        SELECT
            orders.id,
            orders.created_at
        FROM orders
        WHERE
            orders.user_id = $1
            AND orders.status = wanted.status
            AND orders.created_at >= $3
            AND (orders.created_at, orders.id) < (bound.created_at, bound.id)
        ORDER BY orders.created_at DESC, orders.id DESC
        LIMIT $6
    ) AS newest
ORDER BY newest.created_at DESC, newest.id DESC
LIMIT $6
