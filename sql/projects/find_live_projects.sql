-- projects/find_live_projects: tell which projects have had a deployment done
-- Params:  $1 project_ids bigint[]   unique
-- Locks:   none new; the caller holds projects/lock_projects, so the answer stays true
-- Rows:    project_id bigint; one per live project
-- Index:   deployments_live_idx
SELECT project_id
FROM deployments
WHERE project_id = any($1::bigint[]) AND first_live
