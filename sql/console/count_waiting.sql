-- console/count_waiting: count what waits or needs attention, for the console's rail, at a bounded
--     cost however much it is
-- Params:  $1 counted bigint   rows of a kind that are counted at most
-- Locks:   none
-- Rows:    orders bigint, deployments bigint, dead_letters bigint; one
-- Index:   orders_pending_idx, deployments_silent_idx, outbox_dead_letters_pkey
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT orders.id
            FROM orders
            WHERE orders.status = 'pending'
            ORDER BY orders.id
            LIMIT $1
        ) AS pending
    ) AS orders,
    (
        SELECT count(*)
        FROM (
            SELECT deployments.id
            FROM deployments
            WHERE deployments.status IN ('pending', 'building', 'deploying')
            ORDER BY coalesce(deployments.moved_at, deployments.created_at)
            LIMIT $1
        ) AS ongoing
    ) AS deployments,
    (
        SELECT count(*)
        FROM (
            SELECT outbox_dead_letters.event_id
            FROM outbox_dead_letters
            ORDER BY outbox_dead_letters.event_id
            LIMIT $1
        ) AS parked
    ) AS dead_letters
