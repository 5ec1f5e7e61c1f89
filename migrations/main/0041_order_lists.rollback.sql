-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS orders_user_id_status_created_at_idx;
DROP INDEX CONCURRENTLY IF EXISTS orders_status_created_at_idx;
