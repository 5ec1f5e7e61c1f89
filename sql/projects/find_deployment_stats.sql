-- projects/find_deployment_stats: average users' deployments over the ISO weeks (UTC) since the
--     week of their first one
-- Params:  $1 user_ids bigint[]   unique
--          $2 as_of timestamptz   the last week counted is the one this is in
-- Locks:   none
-- Rows:    user_id bigint, weeks integer, deployments bigint, successful bigint,
--          weekly float8, weekly_successful float8; one per user found
-- Index:   users_pkey, projects_user_id_idx, deployments_project_id_idx

-- A week without any counts like every other: the sum over the weeks divided by how many there
-- are. A deployment belongs to the week it was created in.
WITH counted AS (
    SELECT
        users.id AS user_id,
        count(deployments.status) AS deployments,
        count(deployments.status) FILTER (WHERE deployments.status = 'done') AS successful,
        coalesce((
            date_trunc('week', $2::timestamptz AT TIME ZONE 'UTC')::date
            - date_trunc('week', min(deployments.created_at) AT TIME ZONE 'UTC')::date
        ) / 7 + 1, 0) AS weeks
    FROM users
    LEFT JOIN projects ON users.id = projects.user_id
    LEFT JOIN deployments ON projects.id = deployments.project_id
    WHERE users.id = any($1::bigint[])
    GROUP BY users.id
)

SELECT
    user_id,
    weeks,
    deployments,
    successful,
    deployments / greatest(weeks, 1)::double precision AS weekly,
    successful / greatest(weeks, 1)::double precision AS weekly_successful
FROM counted
