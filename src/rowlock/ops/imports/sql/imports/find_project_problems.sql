-- imports/find_project_problems: find the staged projects that can't be added, each with the first
--     reason
-- Params:  $1 page_size bigint
-- Locks:   none
-- Rows:    ordinal bigint, line bigint, field text, holder_id bigint?, first_ordinal bigint?,
--          first_line bigint?, total bigint; page_size at most, in the order of the file, each with
--          the project or the row of the file that has the same, neither if there is no such user,
--          and how many there are in all
-- Index:   users_pkey, projects_pkey, projects_user_id_idx
WITH ids AS (
    SELECT
        id,
        min(ordinal) AS ordinal
    FROM import_projects
    WHERE id IS NOT NULL
    GROUP BY id
    HAVING count(*) > 1
),

-- Projects may have the same name. But without ids, nothing else tells that they are not the same.
names AS (
    SELECT
        user_id,
        name,
        min(ordinal) AS ordinal
    FROM import_projects
    WHERE id IS NULL
    GROUP BY user_id, name
    HAVING count(*) > 1
),

found AS (
    SELECT
        staged.ordinal,
        1 AS rank,
        'user_id' AS field,
        NULL::bigint AS holder_id,
        NULL::bigint AS first_ordinal
    FROM import_projects AS staged
    LEFT JOIN users ON staged.user_id = users.id
    WHERE users.id IS NULL
    UNION ALL
    SELECT
        staged.ordinal,
        2 AS rank,
        'id' AS field,
        NULL AS holder_id,
        ids.ordinal AS first_ordinal
    FROM import_projects AS staged
    INNER JOIN ids ON staged.id = ids.id AND staged.ordinal > ids.ordinal
    UNION ALL
    SELECT
        staged.ordinal,
        3 AS rank,
        'id' AS field,
        projects.id AS holder_id,
        NULL AS first_ordinal
    FROM import_projects AS staged
    INNER JOIN projects ON staged.id = projects.id
    UNION ALL
    SELECT
        staged.ordinal,
        4 AS rank,
        'name' AS field,
        NULL AS holder_id,
        names.ordinal AS first_ordinal
    FROM import_projects AS staged
    INNER JOIN names
        ON
            staged.user_id = names.user_id
            AND staged.name = names.name
            AND staged.ordinal > names.ordinal
    WHERE staged.id IS NULL
    UNION ALL
    SELECT
        staged.ordinal,
        5 AS rank,
        'name' AS field,
        projects.id AS holder_id,
        NULL AS first_ordinal
    FROM import_projects AS staged
    INNER JOIN projects ON staged.user_id = projects.user_id AND staged.name = projects.name
    WHERE staged.id IS NULL
),

reasons AS (
    SELECT DISTINCT ON (ordinal) *
    FROM found
    ORDER BY ordinal, rank, holder_id
)

SELECT
    reasons.ordinal,
    staged.line,
    reasons.field,
    reasons.holder_id,
    reasons.first_ordinal,
    earlier.line AS first_line,
    count(*) OVER () AS total
FROM reasons
INNER JOIN import_projects AS staged ON reasons.ordinal = staged.ordinal
LEFT JOIN import_projects AS earlier ON reasons.first_ordinal = earlier.ordinal
ORDER BY reasons.ordinal
LIMIT $1
