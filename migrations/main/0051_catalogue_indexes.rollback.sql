-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS services_is_live_idx;
DROP INDEX CONCURRENTLY IF EXISTS products_is_live_idx;
