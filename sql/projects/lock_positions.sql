-- projects/lock_positions: let one transaction at a time add to a list, so that its positions have
--     no gaps
-- Params:  $1 name text   projects or deployments
-- Locks:   an advisory lock per list, until the end of the transaction; the last one taken
-- Rows:    locked void; one
-- Index:   none, no table is read
SELECT pg_advisory_xact_lock(hashtextextended('positions of ' || $1, 0)) AS locked
