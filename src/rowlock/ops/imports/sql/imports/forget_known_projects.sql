-- imports/forget_known_projects: leave out the staged projects that are there already: with the
--     owner and the id of one, or without an id its name
-- Params:  none
-- Locks:   none, the rows removed are this session's alone
-- Rows:    forgotten bigint; one
-- Index:   projects_user_id_idx
WITH known AS (
    SELECT staged.ordinal
    FROM import_projects AS staged
    INNER JOIN projects ON staged.user_id = projects.user_id
    WHERE
        projects.id = staged.id
        OR (staged.id IS NULL AND projects.name = staged.name)
),

forgotten AS (
    DELETE FROM import_projects
    USING known
    WHERE import_projects.ordinal = known.ordinal
    RETURNING import_projects.ordinal
)

SELECT count(*) AS forgotten
FROM forgotten
