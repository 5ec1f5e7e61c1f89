-- projects/lock_projects: lock the projects that a batch will change, and read them
-- Params:  $1 project_ids bigint[]   unique
-- Locks:   projects rows FOR NO KEY UPDATE, in the order of id; after lock_deployments
-- Rows:    id bigint, name text, url text?, user_id bigint, now timestamptz; one per project found
-- Index:   projects_pkey
SELECT
    id,
    name,
    url,
    user_id,
    -- Once the deployments are locked: a deployment can't end before it was created.
    statement_timestamp() AS now
FROM projects
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE
