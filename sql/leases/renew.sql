-- leases/renew: go on holding a lease
-- Params:  $1 name text
--          $2 epoch bigint        of the holder
--          $3 duration interval
-- Locks:   the lease's row; a write of the leader (FOR SHARE) is waited for
-- Rows:    expires timestamptz; one, none if it has expired or another process holds it
-- Index:   leases_pkey
UPDATE leases
SET expires = clock_timestamp() + $3::interval
-- A renewal that comes late must not bring back a lease that was released.
WHERE name = $1 AND epoch = $2 AND expires > clock_timestamp()
RETURNING expires
