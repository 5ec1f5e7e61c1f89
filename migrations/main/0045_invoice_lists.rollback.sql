-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_status_idx;
CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_user_id_status_idx
ON invoices (user_id, status, id);
DROP INDEX CONCURRENTLY IF EXISTS invoices_status_idx;
CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_status_idx ON invoices (status, id);
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_status_created_at_idx;
DROP INDEX CONCURRENTLY IF EXISTS invoices_status_created_at_idx;
