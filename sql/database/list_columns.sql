-- database/list_columns: describe the columns of all tables and views of the schema
-- Params:  none
-- Locks:   none
-- Rows:    table_name text, name text, type text, is_nullable boolean, default_value text?,
--          comment text?; one per column, in the order of each table's
-- Index:   none, the catalogue is read
SELECT
    relation.relname::text AS table_name,
    attribute.attname::text AS name,
    format_type(attribute.atttypid, attribute.atttypmod) AS type,
    NOT attribute.attnotnull AS is_nullable,
    CASE attribute.attidentity
        WHEN 'a' THEN 'identity, always'
        WHEN 'd' THEN 'identity'
        ELSE pg_get_expr(preset.adbin, preset.adrelid)
    END AS default_value,
    col_description(relation.oid, attribute.attnum) AS comment
FROM pg_class AS relation
INNER JOIN pg_attribute AS attribute
    ON
        relation.oid = attribute.attrelid
        AND attribute.attnum > 0
        AND NOT attribute.attisdropped
LEFT JOIN pg_attrdef AS preset
    ON
        attribute.attrelid = preset.adrelid
        AND attribute.attnum = preset.adnum
WHERE
    relation.relnamespace = 'public'::regnamespace
    AND relation.relkind IN ('r', 'p', 'v', 'm')
ORDER BY relation.oid, attribute.attnum
