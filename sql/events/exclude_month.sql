-- events/exclude_month: let the default partition refuse events of a month, if it has none, until
--     the month's own partition is there; not if the default partition is so small that it is read
--     at once
-- Params:  $1 month date               any day of it
--          $2 unproven_bytes bigint    size of a default partition that is small
-- Locks:   events_default ACCESS EXCLUSIVE, if it is to refuse them; the caller holds
--          events/lock_log
-- Rows:    excluded boolean; one
-- Index:   none, the function looks into events_default by events_default_created_at_idx
SELECT
    CASE
        WHEN pg_relation_size('events_default') < $2 THEN false
        ELSE exclude_events_month($1)
    END AS excluded
