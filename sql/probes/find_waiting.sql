-- probes/find_waiting: find out what a probe waits for, which runs on a connection of that name
-- Params:  $1 application_name text
-- Locks:   none
-- Rows:    wait_event text?; one, none if its session is gone
-- Index:   none, no table is read
SELECT wait_event
FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database()
