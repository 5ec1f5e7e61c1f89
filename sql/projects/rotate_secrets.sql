-- projects/rotate_secrets: replace the secrets of projects
-- Params:  $1 project_ids bigint[]   unique
--          $2 app_secrets text[]     same length
--          $3 overlap interval       for which the old ones are still valid
-- Locks:   none new; the caller holds projects/lock_projects
-- Rows:    none
-- Index:   projects_pkey
UPDATE projects
SET
    app_secret = rotated.app_secret,
    previous_secret = CASE WHEN $3::interval > '0' THEN projects.app_secret END,
    previous_secret_until = CASE WHEN $3::interval > '0' THEN now() + $3::interval END
FROM unnest($1::bigint[], $2::text[]) AS rotated (id, app_secret)
WHERE projects.id = rotated.id
