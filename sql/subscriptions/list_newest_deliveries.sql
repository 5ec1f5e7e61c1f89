-- subscriptions/list_newest_deliveries: read a page of deliveries, newest first
-- Params:  $1 subscription_id bigint?   null: of all subscriptions
--          $2 statuses text[]           unique
--          $3 problem text?             null: any, or none
--          $4 before bigint             only those with lower ids
--          $5 page_size bigint
-- Locks:   none
-- Rows:    id bigint, subscription_id bigint, event_id bigint?, name text, status text,
--          attempts integer, problem text?, created_at timestamptz, due_at timestamptz?,
--          finished_at timestamptz?; page_size at most
-- Index:   subscriptions_pkey, deliveries_status_idx
SELECT
    newest.id,
    newest.subscription_id,
    newest.event_id,
    newest.name,
    newest.status,
    newest.attempts,
    newest.problem,
    newest.created_at,
    newest.due_at,
    newest.finished_at
FROM subscriptions
CROSS JOIN unnest($2::text[]) AS wanted (status)
CROSS JOIN
    LATERAL (  -- noqa: ST05
        SELECT deliveries.*
        FROM deliveries
        WHERE
            deliveries.subscription_id = subscriptions.id
            AND deliveries.status = wanted.status
            AND deliveries.id < $4
            AND ($3::text IS NULL OR deliveries.problem = $3)
        ORDER BY deliveries.id DESC
        LIMIT $5
    ) AS newest
WHERE
    -- A range, so that one or all are read by the index.
    subscriptions.id >= coalesce($1::bigint, 0)
    AND subscriptions.id <= coalesce($1::bigint, 9223372036854775807)
ORDER BY newest.id DESC
LIMIT $5
