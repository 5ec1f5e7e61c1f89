-- subscriptions/measure: tell how subscriptions fare, for /metrics
-- Params:  $1 counted bigint   deliveries that are counted at most
-- Locks:   none
-- Rows:    active bigint, failing bigint, disabled bigint, pending bigint, lag bigint; one; lag is
--          how many places the log is ahead of what is dispatched
-- Index:   subscriptions_pkey, deliveries_due_idx, dispatch_cursor_pkey, events_pkey
WITH every AS (
    SELECT
        count(*) FILTER (WHERE status = 'active') AS active,
        count(*) FILTER (WHERE status = 'active' AND failing_since IS NOT NULL) AS failing,
        count(*) FILTER (WHERE status <> 'active') AS disabled
    FROM subscriptions
    WHERE id > 0 -- so that it is read by its index
),

waiting AS (
    SELECT subscription_id
    FROM deliveries
    WHERE status = 'pending'
    ORDER BY subscription_id
    LIMIT $1
)

SELECT
    every.active,
    every.failing,
    every.disabled,
    (SELECT count(*) FROM waiting) AS pending,
    CASE
        WHEN every.active > 0
            THEN
                greatest(
                    coalesce((SELECT max(events.id) FROM events), 0)
                    - (
                        SELECT dispatched.position
                        FROM dispatch_cursor AS dispatched
                        WHERE dispatched.only_one
                    ),
                    0
                )
        ELSE 0
    END AS lag
FROM every
