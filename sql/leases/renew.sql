-- leases/renew: go on holding a lease
-- Params:  $1 name text
--          $2 epoch bigint        of the holder
--          $3 duration interval
-- Locks:   the lease's row
-- Rows:    expires timestamptz; one, none if another process holds it by now
-- Index:   leases_pkey
UPDATE leases
SET expires = clock_timestamp() + $3::interval
WHERE name = $1 AND epoch = $2
RETURNING expires
