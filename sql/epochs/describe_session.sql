-- epochs/describe_session: tell whether this session may write in the present epoch of the cluster
-- Params:  none
-- Locks:   none
-- Rows:    holds boolean; one; it does not hold on a standby, or on another server or timeline than
--          that of the epoch, or if none was recorded
-- Index:   none, the function reads the newest row of cluster_epochs
SELECT holds
FROM describe_epoch()
