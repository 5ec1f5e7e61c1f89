-- consumers/delete_consumers: delete consumers
-- Params:  $1 consumer_ids bigint[]   unique
-- Locks:   none new; the caller holds consumers/lock_consumers
-- Rows:    none
-- Index:   consumers_pkey
DELETE FROM consumers
WHERE id = any($1::bigint[])
