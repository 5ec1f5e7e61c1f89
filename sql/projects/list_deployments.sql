-- projects/list_deployments: read places in the list of deployments, newest first
-- Params:  $1 places bigint[]   unique, from 1
-- Locks:   none
-- Rows:    place bigint, total bigint, id bigint?, project_id bigint?, status text?,
--          deployed_in bigint?, created_at timestamptz?, ended_at timestamptz?;
--          one per place, with a null id past the end
-- Index:   deployments_position_key

-- By positions, for the reason given in projects/list_projects.
WITH list AS (
    SELECT coalesce(max(position), 0) AS total
    FROM deployments
)

SELECT
    wanted.place,
    list.total,
    deployments.id,
    deployments.project_id,
    deployments.status,
    deployments.deployed_in,
    deployments.created_at,
    deployments.ended_at
FROM unnest($1::bigint[]) AS wanted (place)
CROSS JOIN list
LEFT JOIN deployments ON deployments.position = list.total + 1 - wanted.place
ORDER BY wanted.place
