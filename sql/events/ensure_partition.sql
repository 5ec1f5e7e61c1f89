-- events/ensure_partition: make the partition of a month, unless it is there; its events in the
--     default one move
-- Params:  $1 month date   any day of it
-- Locks:   events SHARE UPDATE EXCLUSIVE and events_default ACCESS EXCLUSIVE, if it is made; all of
--          events_default is read meanwhile, unless events/verify_month has proven that it has no
--          event of the month; the caller holds events/lock_log
-- Rows:    made boolean; one
-- Index:   none, the function reads the catalogue
SELECT ensure_events_partition($1) AS made
