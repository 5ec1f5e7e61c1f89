-- leases/describe: tell who leads, and since when
-- Params:  $1 name text
-- Locks:   none
-- Rows:    holder text, epoch bigint, since timestamptz, is_held boolean; one, none if no process
--          has ever led
-- Index:   leases_pkey
SELECT
    holder,
    epoch,
    since,
    expires > clock_timestamp() AS is_held
FROM leases
WHERE name = $1
