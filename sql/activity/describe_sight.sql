-- activity/describe_sight: tell whether this role may see what the sessions of other roles do
-- Params:  none
-- Locks:   none
-- Rows:    sees_all boolean; one
-- Index:   none, no table is read
SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
