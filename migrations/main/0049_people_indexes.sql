-- Indexes that find users by the beginning of a name or an address, and kept answers by their user.
-- transactional: false
-- depends: 0048_people

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
-- CONCURRENTLY, as in 0022_list_indexes; a build that fails is dropped by the next one. In the
-- order of code points, whatever the collation of the database: texts with one beginning are next
-- to each other.
DROP INDEX CONCURRENTLY IF EXISTS users_name_order_idx;
-- Serves accounts/search_users_by_name and accounts/search_users_by_both.
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_name_order_idx ON users (name_key COLLATE "C")
WHERE name_key IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS users_email_order_idx;
-- Serves accounts/search_users_by_email and accounts/search_users_by_both.
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_email_order_idx ON users (email_key COLLATE "C")
WHERE email_key IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS idempotency_keys_user_id_idx;
-- Serves idempotency/scrub_answers.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_user_id_idx ON idempotency_keys (user_id)
WHERE user_id IS NOT NULL;
