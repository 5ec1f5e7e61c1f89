-- projects/list_projects: read places in the list of projects, oldest first, each with its owner
--     and two flags
-- Params:  $1 places bigint[]   unique, from 1
-- Locks:   none
-- Rows:    place bigint, total bigint, id bigint?, name text?, url text?, created_at timestamptz?,
--          owner_id bigint?, email text?, username text?, is_ongoing boolean, is_live boolean;
--          one per place, with a null id past the end
-- Index:   projects_position_key, users_pkey, deployments_ongoing_idx, deployments_live_idx

-- Positions have no gaps, so places are looked up, and the largest position is the total. OFFSET
-- and count(*) would read all that comes before the page, and everything, for each request.
-- The flags are scalar subqueries and not EXISTS, which the planner may turn into a hash of
-- every deployment there is.
WITH list AS (
    SELECT coalesce(max(position), 0) AS total
    FROM projects
)

SELECT
    wanted.place,
    list.total,
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
FROM unnest($1::bigint[]) AS wanted (place)
CROSS JOIN list
LEFT JOIN projects ON wanted.place = projects.position
LEFT JOIN users ON projects.user_id = users.id
ORDER BY wanted.place
