-- Indexes for names that are the same, and for deployments that nothing reports on.
-- transactional: false
-- depends: 0029_names_and_ids

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
-- CONCURRENTLY, as in 0022_list_indexes; a build that fails is dropped by the next one.
DROP INDEX CONCURRENTLY IF EXISTS users_name_key_idx;
-- Serves accounts/lock_users_by_name and benefits/find_shoppers. Partial: an index that is no key
-- of foreign ones, so that a key can be added to a user whom other rows refer to meanwhile.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_name_key_idx ON users (name_key)
WHERE name_key IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS users_email_key_idx;
-- Serves accounts/find_key_owners and seed/find_taken_users.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_email_key_idx ON users (email_key)
WHERE email_key IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS users_unkeyed_idx;
-- Serves accounts/find_unkeyed_users.
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_unkeyed_idx ON users (id)
WHERE name_key IS NULL OR (email IS NOT NULL AND email_key IS NULL);
DROP INDEX CONCURRENTLY IF EXISTS deployments_silent_idx;
-- Serves projects/find_silent_deployments.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deployments_silent_idx
ON deployments (coalesce(moved_at, created_at))
WHERE status IN ('pending', 'building', 'deploying');
