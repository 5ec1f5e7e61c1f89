-- epochs/find_newest: find the epoch that was recorded last
-- Params:  none
-- Locks:   none
-- Rows:    identity uuid, timeline bigint; one, or none before the first epoch
-- Index:   cluster_epochs_pkey
SELECT
    identity,
    timeline
FROM cluster_epochs
ORDER BY number DESC
LIMIT 1
