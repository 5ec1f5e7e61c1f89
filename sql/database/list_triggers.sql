-- database/list_triggers: describe the triggers of all tables of the schema
-- Params:  none
-- Locks:   none
-- Rows:    table_name text, name text, definition text, comment text?; one per trigger, by name
-- Index:   none, the catalogue is read
SELECT
    relation.relname::text AS table_name,
    fired.tgname::text AS name,
    regexp_replace(pg_get_triggerdef(fired.oid, true), '^CREATE TRIGGER \S+ ', '') AS definition,
    obj_description(fired.oid, 'pg_trigger') AS comment
FROM pg_trigger AS fired
INNER JOIN pg_class AS relation ON fired.tgrelid = relation.oid
WHERE
    relation.relnamespace = 'public'::regnamespace
    AND NOT fired.tgisinternal
ORDER BY fired.tgname
