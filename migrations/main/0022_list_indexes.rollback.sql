-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_idx;
CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_user_id_idx ON invoices (user_id, id);
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_status_idx;
DROP INDEX CONCURRENTLY IF EXISTS orders_approved_idx;
