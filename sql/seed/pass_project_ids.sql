-- seed/pass_project_ids: let new projects get ids beyond those that were imported
-- Params:  $1 last_id bigint
-- Locks:   none new; the caller holds projects/lock_project_positions, under which ids are drawn
-- Rows:    last_id bigint; one, none if new ids are beyond it already
-- Index:   none, only the sequence is read
SELECT setval('projects_id_seq', $1) AS last_id
FROM projects_id_seq
WHERE (last_value, is_called) < ($1, true)
