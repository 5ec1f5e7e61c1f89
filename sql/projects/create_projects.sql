-- projects/create_projects: create projects, at the end of the list
-- Params:  $1 ids bigint?[]                one per project; null: the next free one
--          $2 names text[]                 same length
--          $3 urls text?[]                 same length; null: not live yet
--          $4 user_ids bigint[]            same length, known to exist
--          $5 app_secrets text[]           same length
--          $6 created_ats timestamptz?[]   same length; null: now
-- Locks:   users rows FOR KEY SHARE, by the foreign key; the caller holds
--          projects/lock_project_positions
-- Rows:    id bigint, created_at timestamptz; one per project, in the order of the input
-- Index:   projects_position_key
WITH list AS (
    SELECT coalesce(max(position), 0) AS total
    FROM projects
),

created AS (
    INSERT INTO projects (id, position, name, url, user_id, app_secret, created_at)
    SELECT
        coalesce(new.id, nextval('projects_id_seq')) AS id,
        list.total + new.ordinal AS position,
        new.name,
        new.url,
        new.user_id,
        new.app_secret,
        coalesce(new.created_at, statement_timestamp()) AS created_at
    FROM
        unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[])
        WITH ORDINALITY
            AS new (id, name, url, user_id, app_secret, created_at, ordinal)
    CROSS JOIN list
    RETURNING id, position, created_at
)

SELECT
    id,
    created_at
FROM created
ORDER BY position
