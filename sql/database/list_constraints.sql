-- database/list_constraints: describe the constraints of all tables of the schema, but that columns
--     are not null
-- Params:  none
-- Locks:   none
-- Rows:    table_name text, name text, definition text, comment text?; one per constraint:
--          primary keys, then unique, foreign key, exclusion and check constraints
-- Index:   none, the catalogue is read
SELECT
    relation.relname::text AS table_name,
    held.conname::text AS name,
    pg_get_constraintdef(held.oid) AS definition,
    obj_description(held.oid, 'pg_constraint') AS comment
FROM pg_constraint AS held
INNER JOIN pg_class AS relation ON held.conrelid = relation.oid
WHERE
    relation.relnamespace = 'public'::regnamespace
    -- PostgreSQL 18 has a constraint per column that is not null; list_columns tells.
    AND held.contype IN ('p', 'u', 'f', 'x', 'c')
ORDER BY
    relation.relname,
    position(held.contype::text IN 'pufxc'),
    held.conname
