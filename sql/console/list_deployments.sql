-- console/list_deployments: read a page of deployments, newest first, each with its project's name
-- Params:  $1 statuses text[]   unique, those to include
--          $2 before bigint     only those with lower ids
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, project_id bigint, status text, deployed_in bigint?,
--          created_at timestamptz, ended_at timestamptz?, branch text?, commit text?, reason text?,
--          moved_at timestamptz?, project_name text; page_size at most
-- Index:   deployments_status_id_idx, projects_pkey
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
    FROM unnest($1::text[]) AS wanted (status)
    -- A page of each status, whose entries are next to each other in the index. The order is the
    -- index's: by id alone, the server would take the key's index, and read all other statuses.
    CROSS JOIN
        LATERAL (
            SELECT deployments.*
            FROM deployments
            WHERE
                deployments.status >= wanted.status
                AND (deployments.status, deployments.id) < (wanted.status, $2)
            ORDER BY deployments.status DESC, deployments.id DESC
            LIMIT $3
        ) AS found
    ORDER BY found.id DESC
    LIMIT $3
) AS newest
INNER JOIN projects ON newest.project_id = projects.id
ORDER BY newest.id DESC
