-- leases/list: tell who leads what, and since when
-- Params:  none
-- Locks:   none
-- Rows:    name text, holder text, epoch bigint, since timestamptz, is_held boolean; one per lease,
--          by name
-- Index:   leases_pkey
SELECT
    name,
    holder,
    epoch,
    since,
    expires > clock_timestamp() AS is_held
FROM leases
-- No process of this release takes it. The row may be there of release 0.2.0.
WHERE name <> 'deployments'
ORDER BY name
