-- subscriptions/give_up: give up the deliveries that wait, of subscriptions that are not active
-- Params:  $1 subscription_ids bigint[]   unique
-- Locks:   the deliveries; the caller holds subscriptions/lock
-- Rows:    none
-- Index:   deliveries_due_idx
UPDATE deliveries
SET
    status = 'failed',
    problem = coalesce(problem, 'disabled'),
    due_at = NULL,
    finished_at = statement_timestamp()
WHERE status = 'pending' AND subscription_id = any($1::bigint[])
