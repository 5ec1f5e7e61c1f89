-- subscriptions/list_due: read the deliveries that are next, of several subscriptions
-- Params:  $1 subscription_ids bigint[]   unique
--          $2 most integer[]              same length, how many of each
-- Locks:   none
-- Rows:    id bigint, subscription_id bigint, event_id bigint?, name text, attempts integer,
--          due_at timestamptz; those due first, by subscription; due or not
-- Index:   deliveries_due_idx
SELECT
    next.id,
    next.subscription_id,
    next.event_id,
    next.name,
    next.attempts,
    next.due_at
FROM unnest($1::bigint[], $2::integer[]) AS given (subscription_id, most)
CROSS JOIN
    LATERAL (  -- noqa: ST05
        SELECT
            deliveries.id,
            deliveries.subscription_id,
            deliveries.event_id,
            deliveries.name,
            deliveries.attempts,
            deliveries.due_at
        FROM deliveries
        WHERE deliveries.subscription_id = given.subscription_id AND deliveries.status = 'pending'
        ORDER BY deliveries.due_at
        LIMIT given.most
    ) AS next
ORDER BY next.subscription_id, next.due_at
