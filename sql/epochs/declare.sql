-- epochs/declare: record a new epoch by hand; let all ids jump ahead first
-- Params:  none
-- Locks:   those of the function: advisory lock 6, and in the events database 2, until the
--          transaction ends
-- Rows:    number bigint; one
-- Index:   none, the function reads the newest row of cluster_epochs
SELECT number
FROM declare_epoch()
