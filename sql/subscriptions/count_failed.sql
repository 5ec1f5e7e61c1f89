-- subscriptions/count_failed: count the deliveries that were given up, of subscriptions that are
--     active
-- Params:  $1 subscription_id bigint?   null: of all
--          $2 problem text?             null: any
-- Locks:   none
-- Rows:    deliveries bigint, last_id bigint; one; last_id: the highest among them, or 0
-- Index:   subscriptions_pkey, deliveries_status_idx
SELECT
    coalesce(sum(counted.deliveries), 0)::bigint AS deliveries,
    coalesce(max(counted.last_id), 0) AS last_id
FROM subscriptions
CROSS JOIN
    LATERAL (
        SELECT
            count(*) AS deliveries,
            max(deliveries.id) AS last_id
        FROM deliveries
        WHERE
            deliveries.subscription_id = subscriptions.id
            AND deliveries.status = 'failed'
            AND ($2::text IS NULL OR deliveries.problem = $2)
    ) AS counted
WHERE
    subscriptions.status = 'active'
    AND subscriptions.id >= coalesce($1::bigint, 0)
    AND subscriptions.id <= coalesce($1::bigint, 9223372036854775807)
