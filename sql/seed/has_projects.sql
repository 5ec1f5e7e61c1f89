-- seed/has_projects: tell whether there are projects, of the demo data or others
-- Params:  none
-- Locks:   none
-- Rows:    seeded boolean; one
-- Index:   none, one row is enough
SELECT exists(SELECT 1 FROM projects) AS seeded
