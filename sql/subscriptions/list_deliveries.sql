-- subscriptions/list_deliveries: read a page of a subscription's deliveries, newest first
-- Params:  $1 subscription_id bigint
--          $2 statuses text[]          unique
--          $3 before bigint            only those with lower ids
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, subscription_id bigint, event_id bigint?, name text, status text,
--          attempts integer, problem text?, created_at timestamptz, due_at timestamptz?,
--          finished_at timestamptz?; page_size at most
-- Index:   deliveries_status_idx
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
FROM unnest($2::text[]) AS wanted (status)
CROSS JOIN
    LATERAL (  -- noqa: ST05
        SELECT deliveries.*
        FROM deliveries
        WHERE
            deliveries.subscription_id = $1
            AND deliveries.status = wanted.status
            AND deliveries.id < $3
        ORDER BY deliveries.id DESC
        LIMIT $4
    ) AS newest
ORDER BY newest.id DESC
LIMIT $4
