-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS deployments_status_project_id_id_idx;
DROP INDEX CONCURRENTLY IF EXISTS deployments_status_id_idx;
