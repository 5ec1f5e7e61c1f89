-- events/exclude_month: let the default partition refuse events of a month, if it has none, until
--     the month's own partition is there
-- Params:  $1 month date   any day of it
-- Locks:   events_default ACCESS EXCLUSIVE, if it is to refuse them; the caller holds
--          events/lock_log
-- Rows:    excluded boolean; one
-- Index:   none, the function looks into events_default by events_default_created_at_idx
SELECT exclude_events_month($1) AS excluded
