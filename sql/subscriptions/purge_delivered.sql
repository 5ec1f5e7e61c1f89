-- subscriptions/purge_delivered: of what was delivered, keep each subscription's last ones
-- Params:  $1 keep bigint        of each subscription
--          $2 page_size bigint   removed of each subscription, at most
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   subscriptions_pkey, deliveries_status_idx
WITH old AS (
    SELECT surplus.id
    FROM subscriptions
    CROSS JOIN
        LATERAL (
            SELECT deliveries.id
            FROM deliveries
            WHERE
                deliveries.subscription_id = subscriptions.id
                AND deliveries.status = 'delivered'
            ORDER BY deliveries.id DESC
            LIMIT
                $2
                OFFSET $1
        ) AS surplus
    ORDER BY surplus.id
    LIMIT $2
),

purged AS (
    DELETE FROM deliveries
    -- Not one that was asked for again meanwhile.
    WHERE id = any(array(SELECT old.id FROM old)) AND status = 'delivered'
    RETURNING id
)

SELECT count(*) AS purged
FROM purged
