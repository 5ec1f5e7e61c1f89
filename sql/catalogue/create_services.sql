-- catalogue/create_services: add services
-- Params:  $1 names text[]
-- Locks:   none
-- Rows:    id bigint, created_at timestamptz; one per service, in the order of the input: ids are
--          drawn in that order
-- Index:   none, rows are only added
WITH added AS (
    INSERT INTO services (name, created_at)
    SELECT
        new.name,
        statement_timestamp() AS created_at
    FROM unnest($1::text[]) WITH ORDINALITY AS new (name, ordinal)
    ORDER BY new.ordinal
    RETURNING id, created_at
)

SELECT
    id,
    created_at
FROM added
ORDER BY id
