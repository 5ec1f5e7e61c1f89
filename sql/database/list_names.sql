-- database/list_names: list the names that are taken where migrations make tables
-- Params:  none
-- Locks:   none
-- Rows:    name text; one per name of a table, index, view, sequence, type or function of the
--          current schema, by name
-- Index:   none, the catalogue is read
SELECT relname::text AS name
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace
UNION
SELECT typname::text AS name
FROM pg_type
WHERE typnamespace = current_schema()::regnamespace
UNION
SELECT proname::text AS name
FROM pg_proc
WHERE pronamespace = current_schema()::regnamespace
ORDER BY name
