-- database/list_indexes: describe the indexes of all tables of the schema
-- Params:  none
-- Locks:   none
-- Rows:    table_name text, name text, definition text, valid boolean; one per index, by name
-- Index:   none, the catalogue is read
SELECT
    relation.relname::text AS table_name,
    index_relation.relname::text AS name,
    CASE WHEN entry.indisunique THEN 'unique ' ELSE '' END
    || regexp_replace(pg_get_indexdef(entry.indexrelid), '^.*? USING ', '') AS definition,
    entry.indisvalid AS valid
FROM pg_index AS entry
INNER JOIN pg_class AS index_relation ON entry.indexrelid = index_relation.oid
INNER JOIN pg_class AS relation ON entry.indrelid = relation.oid
WHERE relation.relnamespace = 'public'::regnamespace
ORDER BY index_relation.relname
