-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS deployments_silent_idx;
DROP INDEX CONCURRENTLY IF EXISTS users_unkeyed_idx;
DROP INDEX CONCURRENTLY IF EXISTS users_email_key_idx;
DROP INDEX CONCURRENTLY IF EXISTS users_name_key_idx;
