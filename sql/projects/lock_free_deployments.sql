-- projects/lock_free_deployments: lock those deployments that no other transaction has locked,
--     and read them
-- Params:  $1 deployment_ids bigint[]   unique
-- Locks:   deployments rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id
-- Rows:    id bigint, project_id bigint, status text, deployed_in bigint?,
--          created_at timestamptz, ended_at timestamptz?, branch text?, commit text?, reason text?;
--          one per deployment found free
-- Index:   deployments_pkey
SELECT
    id,
    project_id,
    status,
    deployed_in,
    created_at,
    ended_at,
    branch,
    commit,
    reason
FROM deployments
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
