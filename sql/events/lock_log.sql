-- events/lock_log: let one transaction at a time write events, so that ids are in the order of
--     commits
-- Params:  none
-- Locks:   advisory lock 2, until the transaction ends
-- Rows:    locked void; one
-- Index:   none, no table is read
SELECT pg_advisory_xact_lock(1383036780, 2) AS locked
