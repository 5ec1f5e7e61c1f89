-- subscriptions/count_failing: count the subscriptions that fail or are disabled, for the
--     console's rail
-- Params:  none
-- Locks:   none
-- Rows:    failing bigint; one
-- Index:   subscriptions_pkey
SELECT count(*) AS failing
FROM subscriptions
WHERE id > 0 AND (status <> 'active' OR failing_since IS NOT NULL)
