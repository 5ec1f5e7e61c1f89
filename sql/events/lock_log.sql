-- events/lock_log: let one transaction at a time write events, so that ids are in the order of
--     commits
-- Params:  none
-- Locks:   advisory lock 2, until the transaction ends
-- Rows:    locked void, locked_as_in_0_1 void; one
-- Index:   none, no table is read
SELECT
    pg_advisory_xact_lock(1383036780, 2) AS locked,
    -- What release 0.1.0 locks: its processes may run beside this one during an upgrade.
    pg_advisory_xact_lock(7311146936143045491) AS locked_as_in_0_1
