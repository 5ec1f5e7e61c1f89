-- drill/list_deployments: audit after a drill: every deployment
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, project_id bigint, status text; one per deployment
-- Index:   none, every row is read
SELECT
    id,
    project_id,
    status
FROM deployments
