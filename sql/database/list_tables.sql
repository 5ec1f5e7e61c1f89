-- database/list_tables: describe the tables and views of the schema, but not yoyo's and not
--     partitions
-- Params:  none
-- Locks:   none
-- Rows:    name text, kind text, comment text?, partition_key text?, default_partition text?,
--          options text[]?; one per table or view, by name
-- Index:   none, the catalogue is read
SELECT
    relation.relname::text AS name,
    CASE relation.relkind
        WHEN 'v' THEN 'view'
        WHEN 'm' THEN 'materialized view'
        ELSE 'table'
    END AS kind,
    obj_description(relation.oid, 'pg_class') AS comment,
    pg_get_partkeydef(relation.oid) AS partition_key,
    nullif(partitioned.partdefid, 0)::regclass::text AS default_partition,
    relation.reloptions AS options
FROM pg_class AS relation
LEFT JOIN pg_partitioned_table AS partitioned ON relation.oid = partitioned.partrelid
WHERE
    relation.relnamespace = 'public'::regnamespace
    AND relation.relkind IN ('r', 'p', 'v', 'm')
    AND NOT relation.relispartition
    AND relation.relname !~ '^_?yoyo_'
ORDER BY relation.relname
