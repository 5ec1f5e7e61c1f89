-- projects/create_deployments: ask for deployments, at the end of the list
-- Params:  $1 project_ids bigint[]   one per deployment, known to exist
--          $2 branches text?[]       same length; null: none named
--          $3 commits text?[]        same length; null: none named
-- Locks:   projects rows FOR KEY SHARE, by the foreign key; the caller holds
--          projects/lock_deployment_positions
-- Rows:    id bigint, created_at timestamptz; one per deployment, in the order of the input
-- Index:   deployments_position_key
WITH list AS (
    SELECT coalesce(max(position), 0) AS total
    FROM deployments
),

created AS (
    INSERT INTO deployments (position, project_id, created_at, branch, commit)
    SELECT
        list.total + new.ordinal AS position,
        new.project_id,
        -- The transaction's now() is older than the lock that it has waited for.
        statement_timestamp() AS created_at,
        new.branch,
        new.commit
    FROM
        unnest($1::bigint[], $2::text[], $3::text[])
        WITH ORDINALITY
            AS new (project_id, branch, commit, ordinal)
    CROSS JOIN list
    RETURNING id, position, created_at
)

SELECT
    id,
    created_at
FROM created
ORDER BY position
