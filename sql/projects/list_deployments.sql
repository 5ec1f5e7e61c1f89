-- projects/list_deployments: read places in the list of deployments, newest first
-- Params:  $1 places bigint[]   from 1
--          $2 tops bigint?[]    same length; how many the list had then; null: as many as it has
-- Locks:   none
-- Rows:    total bigint, id bigint?, project_id bigint?, status text?, deployed_in bigint?,
--          created_at timestamptz?, ended_at timestamptz?, branch text?, commit text?,
--          reason text?; one per place, in the order of the input, with a null id past the end
-- Index:   deployments_position_key

-- Positions are never given anew: the list as it was when it had fewer is what is up to that one.
-- By positions, for the reason given in projects/list_projects.
WITH list AS (
    SELECT coalesce(max(position), 0) AS total
    FROM deployments
)

SELECT
    least(wanted.top, list.total) AS total,
    deployments.id,
    deployments.project_id,
    deployments.status,
    deployments.deployed_in,
    deployments.created_at,
    deployments.ended_at,
    deployments.branch,
    deployments.commit,
    deployments.reason
FROM
    unnest($1::bigint[], $2::bigint[])
    WITH ORDINALITY
        AS wanted (place, top, ordinal)
CROSS JOIN list
LEFT JOIN deployments
    ON deployments.position = least(wanted.top, list.total) + 1 - wanted.place
ORDER BY wanted.ordinal
