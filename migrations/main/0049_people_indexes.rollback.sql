-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS idempotency_keys_user_id_idx;
DROP INDEX CONCURRENTLY IF EXISTS users_email_order_idx;
DROP INDEX CONCURRENTLY IF EXISTS users_name_order_idx;
