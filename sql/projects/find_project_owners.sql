-- projects/find_project_owners: tell which projects exist, and whose they are
-- Params:  $1 project_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, name text, url text?, user_id bigint; one per project found
-- Index:   projects_pkey
SELECT
    id,
    name,
    url,
    user_id
FROM projects
WHERE id = any($1::bigint[])
