-- events/verify_month: prove that the default partition has no event of an excluded month
-- Params:  $1 month date   any day of it
-- Locks:   events_default SHARE UPDATE EXCLUSIVE: it is read and written meanwhile
-- Rows:    verified void; one
-- Index:   none, the function reads all of events_default
SELECT verify_events_month($1) AS verified
