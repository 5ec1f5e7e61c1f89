-- epochs/list: list the epochs of the cluster, oldest first
-- Params:  none
-- Locks:   none
-- Rows:    number bigint, identity uuid, system_identifier bigint, timeline bigint,
--          since timestamptz, declared text, ids jsonb; one per epoch
-- Index:   none, all of the few rows are read
SELECT
    number,
    identity,
    system_identifier,
    timeline,
    since,
    declared,
    ids
FROM cluster_epochs
ORDER BY number
