-- events/find_log: tell what this log is called
-- Params:  none
-- Locks:   none
-- Rows:    log uuid; one
-- Index:   none, the table has one row
SELECT id AS log
FROM event_log
