-- epochs/begin: record a new epoch, if this server is of another cluster or timeline than the last
--     one; let all ids jump ahead first
-- Params:  none
-- Locks:   those of the function: advisory lock 6, and in the events database 2, until the
--          transaction ends
-- Rows:    number bigint, began boolean; one; it did not begin if the last one holds
-- Index:   none, the function reads the newest row of cluster_epochs
SELECT
    number,
    began
FROM begin_epoch()
