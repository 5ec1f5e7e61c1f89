-- projects/rotate_secrets: replace the secrets of projects
-- Params:  $1 project_ids bigint[]   unique
--          $2 app_secrets text[]     same length
-- Locks:   none new; the caller holds projects/lock_projects
-- Rows:    none
-- Index:   projects_pkey
UPDATE projects
SET app_secret = rotated.app_secret
FROM unnest($1::bigint[], $2::text[]) AS rotated (id, app_secret)
WHERE projects.id = rotated.id
