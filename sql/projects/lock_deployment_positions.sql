-- projects/lock_deployment_positions: let one transaction at a time add to the list of deployments,
--     so that its positions have no gaps
-- Params:  none
-- Locks:   advisory lock 5, until the transaction ends; the last one taken
-- Rows:    locked void, locked_as_in_0_1 void; one
-- Index:   none, no table is read
SELECT
    pg_advisory_xact_lock(1383036780, 5) AS locked,
    -- What release 0.1.0 locks: its processes may run beside this one during an upgrade.
    pg_advisory_xact_lock(hashtextextended('positions of deployments', 0)) AS locked_as_in_0_1
