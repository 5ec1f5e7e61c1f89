-- database/list_applied_migrations: tell which migrations the database has, as recorded by yoyo
-- Params:  none
-- Locks:   none
-- Rows:    migration_id text; one per migration
-- Index:   none, the table holds a handful of rows
SELECT migration_id::text AS migration_id
FROM _yoyo_migration
ORDER BY migration_id
