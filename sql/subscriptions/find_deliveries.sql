-- subscriptions/find_deliveries: read deliveries
-- Params:  $1 ids bigint[]   unique
-- Locks:   none; the caller may hold subscriptions/lock of theirs, so that they stay
-- Rows:    id bigint, subscription_id bigint, event_id bigint?, name text, status text,
--          attempts integer, problem text?, created_at timestamptz, due_at timestamptz?,
--          finished_at timestamptz?; one per delivery found
-- Index:   deliveries_pkey
SELECT
    id,
    subscription_id,
    event_id,
    name,
    status,
    attempts,
    problem,
    created_at,
    due_at,
    finished_at
FROM deliveries
WHERE id = any($1::bigint[])
