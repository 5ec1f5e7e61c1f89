-- projects/lock_free_projects: lock those projects that no other transaction has locked, and
--     read them
-- Params:  $1 project_ids bigint[]   unique
-- Locks:   projects rows FOR NO KEY UPDATE SKIP LOCKED, in the order of id; after
--          lock_free_deployments
-- Rows:    id bigint, name text, url text?, user_id bigint; one per project found free
-- Index:   projects_pkey
SELECT
    id,
    name,
    url,
    user_id
FROM projects
WHERE id = any($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
