-- subscriptions/count: count the subscriptions
-- Params:  none
-- Locks:   none new; the caller holds events/lock_log, so there are no more until it commits
-- Rows:    subscriptions bigint; one
-- Index:   subscriptions_pkey
SELECT count(*) AS subscriptions
FROM subscriptions
