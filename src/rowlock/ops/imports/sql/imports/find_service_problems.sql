-- imports/find_service_problems: find the staged services that can't be added, each with the first
--     reason
-- Params:  $1 page_size bigint
-- Locks:   none
-- Rows:    ordinal bigint, line bigint, field text, holder_id bigint?, first_ordinal bigint?,
--          first_line bigint?, total bigint; page_size at most, in the order of the file, each with
--          the service or the row of the file that has the same, and how many there are in all
-- Index:   services_pkey
WITH ids AS (
    SELECT
        id,
        min(ordinal) AS ordinal
    FROM import_services
    WHERE id IS NOT NULL
    GROUP BY id
    HAVING count(*) > 1
),

-- Services may have the same name. But without ids, nothing else tells that they are not the same.
names AS (
    SELECT
        name,
        min(ordinal) AS ordinal
    FROM import_services
    WHERE id IS NULL
    GROUP BY name
    HAVING count(*) > 1
),

found AS (
    SELECT
        staged.ordinal,
        1 AS rank,
        'id' AS field,
        NULL::bigint AS holder_id,
        ids.ordinal AS first_ordinal
    FROM import_services AS staged
    INNER JOIN ids ON staged.id = ids.id AND staged.ordinal > ids.ordinal
    UNION ALL
    SELECT
        staged.ordinal,
        2 AS rank,
        'id' AS field,
        services.id AS holder_id,
        NULL AS first_ordinal
    FROM import_services AS staged
    INNER JOIN services ON staged.id = services.id
    UNION ALL
    SELECT
        staged.ordinal,
        3 AS rank,
        'name' AS field,
        NULL AS holder_id,
        names.ordinal AS first_ordinal
    FROM import_services AS staged
    INNER JOIN names ON staged.name = names.name AND staged.ordinal > names.ordinal
    WHERE staged.id IS NULL
    UNION ALL
    SELECT
        staged.ordinal,
        4 AS rank,
        'name' AS field,
        services.id AS holder_id,
        NULL AS first_ordinal
    FROM import_services AS staged
    INNER JOIN services ON staged.name = services.name
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
INNER JOIN import_services AS staged ON reasons.ordinal = staged.ordinal
LEFT JOIN import_services AS earlier ON reasons.first_ordinal = earlier.ordinal
ORDER BY reasons.ordinal
LIMIT $1
