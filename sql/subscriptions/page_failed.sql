-- subscriptions/page_failed: read on in the deliveries that were given up, oldest first, of
--     subscriptions that are active
-- Params:  $1 subscription_id bigint?   null: of all
--          $2 problem text?             null: any
--          $3 after bigint              only those with higher ids
--          $4 until bigint              and not with higher ones than this
--          $5 page_size bigint
-- Locks:   none
-- Rows:    id bigint; page_size at most, in order
-- Index:   subscriptions_pkey, deliveries_status_idx
SELECT next.id
FROM subscriptions
CROSS JOIN
    LATERAL (  -- noqa: ST05
        SELECT deliveries.id
        FROM deliveries
        WHERE
            deliveries.subscription_id = subscriptions.id
            AND deliveries.status = 'failed'
            AND deliveries.id > $3
            AND deliveries.id <= $4
            AND ($2::text IS NULL OR deliveries.problem = $2)
        ORDER BY deliveries.id
        LIMIT $5
    ) AS next
WHERE
    subscriptions.status = 'active'
    AND subscriptions.id >= coalesce($1::bigint, 0)
    AND subscriptions.id <= coalesce($1::bigint, 9223372036854775807)
ORDER BY next.id
LIMIT $5
