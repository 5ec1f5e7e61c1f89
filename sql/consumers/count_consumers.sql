-- consumers/count_consumers: tell how many consumers there are
-- Params:  none
-- Locks:   none new; the caller holds events/lock_log, so the answer stays true
-- Rows:    consumers bigint; one
-- Index:   none, it reads all of the table, which has few rows
SELECT count(*) AS consumers
FROM consumers
