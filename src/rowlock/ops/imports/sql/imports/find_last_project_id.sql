-- imports/find_last_project_id: tell the highest id among the staged projects
-- Params:  none
-- Locks:   none
-- Rows:    last_id bigint?; one, null if none has an id
-- Index:   none, the table is this session's alone
SELECT max(id) AS last_id
FROM import_projects
