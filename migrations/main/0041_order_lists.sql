-- Proves the CHECKs of 0040, and serves lists of orders by status, user and time.
-- transactional: false
-- depends: 0040_refunds

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
ALTER TABLE orders VALIDATE CONSTRAINT orders_statuses_check;
ALTER TABLE orders VALIDATE CONSTRAINT orders_refunded_check;

-- CONCURRENTLY, so that orders are written meanwhile. A build that fails, as some other
-- transaction may deadlock with it, leaves an index that is not valid: the next one drops it.
DROP INDEX CONCURRENTLY IF EXISTS orders_status_created_at_idx;
-- Serves orders/list_orders.
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_status_created_at_idx
ON orders (status, created_at, id);
DROP INDEX CONCURRENTLY IF EXISTS orders_user_id_status_created_at_idx;
-- Serves orders/list_user_orders. Partial: an order without a user costs it nothing.
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_user_id_status_created_at_idx
ON orders (user_id, status, created_at, id) WHERE user_id IS NOT NULL;
