-- projects/lock_free_projects: lock those projects that no other transaction has locked, and
--     read them
-- Params:  $1 project_ids bigint[]   unique
-- Locks:   projects rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id; after
--          lock_free_deployments
-- Rows:    id bigint, name text, url text?, user_id bigint, now timestamptz;
--          one per project found free
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
FOR NO KEY UPDATE SKIP LOCKED
