-- subscriptions/delete: remove subscriptions with their deliveries
-- Params:  $1 ids bigint[]   unique
-- Locks:   none new; the caller holds subscriptions/lock; the rows of deliveries that go with them
-- Rows:    none
-- Index:   subscriptions_pkey
DELETE FROM subscriptions
WHERE id = any($1::bigint[])
