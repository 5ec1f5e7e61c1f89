-- imports/forget_known_services: leave out the staged services that are there already, by name and
--     by id if they have one
-- Params:  none
-- Locks:   none, the rows removed are this session's alone
-- Rows:    forgotten bigint; one
-- Index:   none, there are few services, whose names have no index
WITH known AS (
    SELECT staged.ordinal
    FROM import_services AS staged
    INNER JOIN services ON staged.name = services.name
    WHERE services.id = coalesce(staged.id, services.id)
),

forgotten AS (
    DELETE FROM import_services
    USING known
    WHERE import_services.ordinal = known.ordinal
    RETURNING import_services.ordinal
)

SELECT count(*) AS forgotten
FROM forgotten
