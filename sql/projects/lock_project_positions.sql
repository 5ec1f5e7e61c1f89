-- projects/lock_project_positions: let one transaction at a time add to the list of projects, so
--     that its positions have no gaps
-- Params:  none
-- Locks:   advisory lock 4, until the transaction ends; the last one taken
-- Rows:    locked void; one
-- Index:   none, no table is read
SELECT pg_advisory_xact_lock(1383036780, 4) AS locked
