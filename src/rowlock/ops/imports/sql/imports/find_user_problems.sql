-- imports/find_user_problems: find the staged users that can't be added, each with the first reason
-- Params:  $1 page_size bigint
-- Locks:   none
-- Rows:    ordinal bigint, line bigint, field text, holder_id bigint?, first_ordinal bigint?,
--          first_line bigint?, total bigint; page_size at most, in the order of the file, each with
--          the user or the row of the file that has the same, and how many there are in all
-- Index:   users_pkey, users_username_key, users_name_key_idx, users_email_key,
--          users_email_key_idx
WITH names AS (
    SELECT
        name_key,
        min(ordinal) AS ordinal
    FROM import_users
    GROUP BY name_key
    HAVING count(*) > 1
),

emails AS (
    SELECT
        email_key,
        min(ordinal) AS ordinal
    FROM import_users
    WHERE email_key IS NOT NULL
    GROUP BY email_key
    HAVING count(*) > 1
),

ids AS (
    SELECT
        id,
        min(ordinal) AS ordinal
    FROM import_users
    WHERE id IS NOT NULL
    GROUP BY id
    HAVING count(*) > 1
),

found AS (
    SELECT
        staged.ordinal,
        1 AS rank,
        'username' AS field,
        NULL::bigint AS holder_id,
        names.ordinal AS first_ordinal
    FROM import_users AS staged
    INNER JOIN names ON staged.name_key = names.name_key AND staged.ordinal > names.ordinal
    UNION ALL
    SELECT
        staged.ordinal,
        2 AS rank,
        'username' AS field,
        users.id AS holder_id,
        NULL AS first_ordinal
    FROM import_users AS staged
    INNER JOIN users ON staged.username = users.username
    UNION ALL
    SELECT
        staged.ordinal,
        3 AS rank,
        'username' AS field,
        users.id AS holder_id,
        NULL AS first_ordinal
    FROM import_users AS staged
    INNER JOIN users ON staged.name_key = users.name_key
    UNION ALL
    SELECT
        staged.ordinal,
        4 AS rank,
        'email' AS field,
        NULL AS holder_id,
        emails.ordinal AS first_ordinal
    FROM import_users AS staged
    INNER JOIN emails ON staged.email_key = emails.email_key AND staged.ordinal > emails.ordinal
    UNION ALL
    SELECT
        staged.ordinal,
        5 AS rank,
        'email' AS field,
        users.id AS holder_id,
        NULL AS first_ordinal
    FROM import_users AS staged
    INNER JOIN users ON staged.email = users.email
    UNION ALL
    SELECT
        staged.ordinal,
        6 AS rank,
        'email' AS field,
        users.id AS holder_id,
        NULL AS first_ordinal
    FROM import_users AS staged
    INNER JOIN users ON staged.email_key = users.email_key
    UNION ALL
    SELECT
        staged.ordinal,
        7 AS rank,
        'id' AS field,
        NULL AS holder_id,
        ids.ordinal AS first_ordinal
    FROM import_users AS staged
    INNER JOIN ids ON staged.id = ids.id AND staged.ordinal > ids.ordinal
    UNION ALL
    SELECT
        staged.ordinal,
        8 AS rank,
        'id' AS field,
        users.id AS holder_id,
        NULL AS first_ordinal
    FROM import_users AS staged
    INNER JOIN users ON staged.id = users.id
),

reasons AS (
    SELECT DISTINCT ON (ordinal) *
    FROM found
    ORDER BY ordinal, rank
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
INNER JOIN import_users AS staged ON reasons.ordinal = staged.ordinal
LEFT JOIN import_users AS earlier ON reasons.first_ordinal = earlier.ordinal
ORDER BY reasons.ordinal
LIMIT $1
