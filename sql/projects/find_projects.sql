-- projects/find_projects: read projects by id, each with its owner and its two flags
-- Params:  $1 project_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, name text, url text?, created_at timestamptz, owner_id bigint, email text?,
--          username text, is_ongoing boolean, is_live boolean; one per project found
-- Index:   projects_pkey, users_pkey, deployments_ongoing_idx, deployments_live_idx

-- The flags are scalar subqueries for the reason given in projects/list_projects.
SELECT
    projects.id,
    projects.name,
    projects.url,
    projects.created_at,
    users.id AS owner_id,
    users.email,
    users.username,
    coalesce((
        SELECT true
        FROM deployments
        WHERE
            deployments.project_id = projects.id
            AND deployments.status IN ('pending', 'building', 'deploying')
        ORDER BY deployments.project_id
        LIMIT 1
    ), false) AS is_ongoing,
    coalesce((
        SELECT true
        FROM deployments
        WHERE deployments.project_id = projects.id AND deployments.first_live
        ORDER BY deployments.project_id
        LIMIT 1
    ), false) AS is_live
FROM projects
INNER JOIN users ON projects.user_id = users.id
WHERE projects.id = any($1::bigint[])
