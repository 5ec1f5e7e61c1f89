-- subscriptions/hold_lease: make sure that the dispatcher leads until it has written
-- Params:  $1 lease text
--          $2 epoch bigint   of that lease
-- Locks:   the lease's row FOR SHARE, so that no process takes or renews it meanwhile
-- Rows:    epoch bigint; one, none if another process leads
-- Index:   leases_pkey
SELECT epoch
FROM leases
WHERE name = $1 AND epoch = $2
FOR SHARE
