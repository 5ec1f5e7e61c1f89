-- Indexes for the lists of approved orders and of a user's invoices in one status.
-- transactional: false
-- depends: 0021_request_ids

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
-- CONCURRENTLY, so that orders and invoices are written meanwhile. A build that fails, as some
-- transaction goes on for too long, leaves an index that is not valid: the next one drops it.
DROP INDEX CONCURRENTLY IF EXISTS orders_approved_idx;
-- Serves orders/list_approved_orders.
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_approved_idx ON orders (id)
WHERE status = 'approved';
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_status_idx;
-- Serves invoices/list_user_invoices.
CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_user_id_status_idx
ON invoices (user_id, status, id);
DROP INDEX CONCURRENTLY IF EXISTS invoices_user_id_idx;
