-- seed/add_deployments: add demo deployments of times past, pending at first, at the end of the
--     list
-- Params:  $1 project_ids bigint[]        one per deployment, known to exist
--          $2 created_ats timestamptz[]   same length, ascending
-- Locks:   projects rows FOR KEY SHARE, by the foreign key; the caller holds
--          projects/lock_deployment_positions
-- Rows:    id bigint; one per deployment, in the order of the input
-- Index:   deployments_position_key
WITH list AS (
    SELECT coalesce(max(position), 0) AS total
    FROM deployments
),

added AS (
    INSERT INTO deployments (position, project_id, created_at)
    SELECT
        list.total + new.ordinal AS position,
        new.project_id,
        new.created_at
    FROM
        unnest($1::bigint[], $2::timestamptz[])
        WITH ORDINALITY
            AS new (project_id, created_at, ordinal)
    CROSS JOIN list
    RETURNING id, position
)

SELECT id
FROM added
ORDER BY position
