-- events/lock_log: let one transaction at a time write events, so that ids are in the order of
--     commits
-- Params:  none
-- Locks:   an advisory lock, until the transaction ends
-- Rows:    locked void; one
-- Index:   none, no table is read
SELECT pg_advisory_xact_lock(7311146936143045491) AS locked
