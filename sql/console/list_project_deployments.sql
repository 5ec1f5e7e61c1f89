-- console/list_project_deployments: read a page of a project's deployments, newest first, each with
--     its project's name
-- Params:  $1 project_id bigint
--          $2 statuses text[]   unique, those to include
--          $3 before bigint     only those with lower ids
--          $4 page_size bigint
-- Locks:   none
-- Rows:    id bigint, project_id bigint, status text, deployed_in bigint?,
--          created_at timestamptz, ended_at timestamptz?, branch text?, commit text?, reason text?,
--          moved_at timestamptz?, project_name text; page_size at most
-- Index:   deployments_status_project_id_id_idx, projects_pkey
SELECT
    newest.id,
    newest.project_id,
    newest.status,
    newest.deployed_in,
    newest.created_at,
    newest.ended_at,
    newest.branch,
    newest.commit,
    newest.reason,
    newest.moved_at,
    projects.name AS project_name
FROM (
    SELECT found.*
    FROM unnest($2::text[]) AS wanted (status)
    -- In the order of the index, for the reason given in console/list_deployments.
    CROSS JOIN
        LATERAL (
            SELECT deployments.*
            FROM deployments
            WHERE
                deployments.status = wanted.status
                AND deployments.project_id >= $1
                AND (deployments.project_id, deployments.id) < ($1, $3)
            ORDER BY deployments.project_id DESC, deployments.id DESC
            LIMIT $4
        ) AS found
    ORDER BY found.id DESC
    LIMIT $4
) AS newest
INNER JOIN projects ON newest.project_id = projects.id
ORDER BY newest.id DESC
