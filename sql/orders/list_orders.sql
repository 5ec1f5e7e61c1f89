-- orders/list_orders: read a page of the ids of the orders of a period, newest first
-- Params:  $1 statuses text[]     unique, those to include
--          $2 since timestamptz   included
--          $3 until timestamptz   not included
--          $4 before bigint       the last order of the page before; the highest bigint: none
--          $5 page_size bigint
-- Locks:   none
-- Rows:    id bigint; page_size at most
-- Index:   orders_status_created_at_idx, orders_pkey
WITH cursor AS (
    SELECT
        CASE
            WHEN $4 = 9223372036854775807 THEN 'infinity'
            -- Or the next older one, if it was deleted meanwhile.
            ELSE coalesce(
                (
                    SELECT last.created_at
                    FROM orders AS last
                    WHERE last.id <= $4
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
        least(created_at, $3) AS created_at,
        CASE WHEN created_at < $3 THEN $4 ELSE 0 END AS id
    FROM cursor
)

SELECT newest.id
FROM unnest($1::text[]) AS wanted (status)
CROSS JOIN bound
-- A page of each status, whose entries are next to each other in the index.
CROSS JOIN
    LATERAL (
        SELECT
            orders.id,
            orders.created_at
        FROM orders
        WHERE
            orders.status = wanted.status
            AND orders.created_at >= $2
            AND (orders.created_at, orders.id) < (bound.created_at, bound.id)
        ORDER BY orders.created_at DESC, orders.id DESC
        LIMIT $5
    ) AS newest
ORDER BY newest.created_at DESC, newest.id DESC
LIMIT $5
