-- epochs/mark_session: mark this session of the server, once the transaction ends, if the present
--     epoch of the cluster holds here; it then does for as long as the session lasts
-- Params:  none
-- Locks:   none
-- Rows:    mark text; one, none if the epoch does not hold here
-- Index:   none, the function reads the newest row of cluster_epochs
SELECT set_config('rowlock.epoch', 'holds', false) AS mark
FROM describe_epoch()
WHERE holds
