-- events/admit_month: let the default partition take events of an excluded month again
-- Params:  $1 month date   any day of it
-- Locks:   events_default ACCESS EXCLUSIVE, if the month is excluded; the caller holds
--          events/lock_log
-- Rows:    admitted void; one
-- Index:   none, the function reads the catalogue
SELECT admit_events_month($1) AS admitted
