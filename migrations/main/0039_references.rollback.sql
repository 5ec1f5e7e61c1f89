-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
DROP INDEX CONCURRENTLY IF EXISTS invoices_reference_key;
DROP INDEX CONCURRENTLY IF EXISTS orders_reference_key;
