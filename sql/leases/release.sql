-- leases/release: let another process take a lease at once
-- Params:  $1 name text
--          $2 epoch bigint   of the holder
-- Locks:   the lease's row
-- Rows:    none
-- Index:   leases_pkey
UPDATE leases
SET expires = clock_timestamp()
WHERE name = $1 AND epoch = $2
