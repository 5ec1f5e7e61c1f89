-- Lists of invoices go by time, within a user or a status.
-- transactional: false
-- depends: 0044_ended_invoices

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
ALTER TABLE invoices VALIDATE CONSTRAINT invoices_statuses_check;
ALTER TABLE invoices VALIDATE CONSTRAINT invoices_times_check;

-- In place of two others: a third would cost each invoice an entry as it is issued, and another
-- one as it is paid. The lists of release 0.2.0 read these, too, and sort.
DROP INDEX CONCURRENTLY IF EXISTS invoices_status_created_at_idx;
-- Serves invoices/list_invoices.
CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_status_created_at_idx
ON invoices (status, created_at, id);
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_status_created_at_idx;
-- Serves invoices/list_user_invoices.
CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_user_id_status_created_at_idx
ON invoices (user_id, status, created_at, id);
DROP INDEX CONCURRENTLY IF EXISTS invoices_status_idx;
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_status_idx;
