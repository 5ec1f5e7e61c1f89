-- Serves the console's lists of deployments by status, and by project and status.
-- transactional: false
-- depends: 0067_shop_links

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
-- CONCURRENTLY, as in 0022_list_indexes; a build that fails is dropped by the next one.
DROP INDEX CONCURRENTLY IF EXISTS deployments_status_id_idx;
-- Serves console/list_deployments.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deployments_status_id_idx ON deployments (status, id);
DROP INDEX CONCURRENTLY IF EXISTS deployments_status_project_id_id_idx;
-- Serves console/list_project_deployments. The status comes first, so that it is no way to all
-- deployments of a project: that is deployments_project_id_idx, which is leaner.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deployments_status_project_id_id_idx
ON deployments (status, project_id, id);
