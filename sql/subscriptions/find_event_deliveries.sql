-- subscriptions/find_event_deliveries: find the deliveries of some events, among the newest of each
--     subscription
-- Params:  $1 event_ids bigint[]   unique
--          $2 statuses text[]      unique
--          $3 newest bigint        of each subscription and status; older ones are not looked at
-- Locks:   none
-- Rows:    id bigint, subscription_id bigint, url text, event_id bigint, name text, status text,
--          attempts integer, problem text?, created_at timestamptz, due_at timestamptz?,
--          finished_at timestamptz?; in the order in which they were noted
-- Index:   deliveries_status_idx
SELECT
    found.id,
    found.subscription_id,
    subscriptions.url,
    found.event_id,
    found.name,
    found.status,
    found.attempts,
    found.problem,
    found.created_at,
    found.due_at,
    found.finished_at
FROM subscriptions
CROSS JOIN unnest($2::text[]) AS wanted (status)
CROSS JOIN
    LATERAL (  -- noqa: ST05
        SELECT deliveries.*
        FROM deliveries
        WHERE
            deliveries.subscription_id = subscriptions.id
            AND deliveries.status = wanted.status
        ORDER BY deliveries.id DESC
        LIMIT $3
    ) AS found
WHERE found.event_id = any($1::bigint[])
ORDER BY found.id
