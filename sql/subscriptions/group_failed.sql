-- subscriptions/group_failed: group what was given up last by subscription and reason
-- Params:  $1 looked_at bigint   how many deliveries at most
--          $2 most bigint        groups
-- Locks:   none
-- Rows:    subscription_id bigint, problem text?, deliveries bigint, first_at timestamptz,
--          last_at timestamptz; one per subscription and reason, the most frequent first
-- Index:   deliveries_failed_idx
SELECT
    newest.subscription_id,
    newest.problem,
    count(*) AS deliveries,
    min(newest.finished_at) AS first_at,
    max(newest.finished_at) AS last_at
FROM (
    SELECT
        subscription_id,
        problem,
        finished_at
    FROM deliveries
    WHERE status = 'failed' AND finished_at IS NOT NULL
    ORDER BY finished_at DESC
    LIMIT $1
) AS newest
GROUP BY newest.subscription_id, newest.problem
ORDER BY count(*) DESC, max(newest.finished_at) DESC
LIMIT $2
