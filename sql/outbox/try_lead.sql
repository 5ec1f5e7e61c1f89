-- Purpose: become the one relay of this database, for as long as this session lives
-- Params:  none
-- Locks:   an advisory lock of the session
-- Rows:    leads boolean; one
-- Index:   none, no table is read
SELECT pg_try_advisory_lock(7526338120110923119) AS leads
