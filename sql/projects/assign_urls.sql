-- projects/assign_urls: give projects the URLs of their first live deployments
-- Params:  $1 project_ids bigint[]   unique
--          $2 urls text[]            same length
-- Locks:   none new; the caller holds projects/lock_projects
-- Rows:    none
-- Index:   projects_pkey
UPDATE projects
SET url = assigned.url
FROM unnest($1::bigint[], $2::text[]) AS assigned (id, url)
WHERE projects.id = assigned.id
