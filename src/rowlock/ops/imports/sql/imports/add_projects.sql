-- imports/add_projects: add a page of the staged projects, at the end of the list, with their
--     events
-- Params:  $1 after bigint   ordinal
--          $2 upto bigint    ordinal
--          $3 actor text
-- Locks:   users rows FOR KEY SHARE, by the foreign key; the caller holds
--          projects/lock_project_positions
-- Rows:    added bigint; one
-- Index:   projects_position_key
WITH list AS (
    SELECT coalesce(max(position), 0) AS total
    FROM projects
),

page AS (
    SELECT
        *,
        -- The list's order is that of the ids.
        row_number() OVER (ORDER BY id NULLS LAST, ordinal) AS place
    FROM import_projects
    WHERE ordinal > $1 AND ordinal <= $2
    ORDER BY place
),

added AS (
    INSERT INTO projects (id, position, name, url, user_id, app_secret, created_at)
    SELECT
        coalesce(page.id, nextval('projects_id_seq')) AS id,
        list.total + page.place AS position,
        page.name,
        page.url,
        page.user_id,
        page.app_secret,
        coalesce(page.created_at, statement_timestamp()) AS created_at
    FROM page
    CROSS JOIN list
    RETURNING id, name, url, user_id, created_at
),

told AS (
    INSERT INTO outbox (name, subject, payload, actor, created_at)
    SELECT
        'project.created' AS name,
        'project:' || id AS subject,
        jsonb_build_object(
            'project_id', id,
            'project_name', name,
            'user_id', user_id,
            'url', url,
            'project_created_at',
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS payload,
        $3 AS actor,
        statement_timestamp() AS created_at
    FROM added
)

SELECT count(*) AS added
FROM added
