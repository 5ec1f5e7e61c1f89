-- A reference names one document of its kind.
-- transactional: false
-- depends: 0038_more_documents

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
ALTER TABLE orders VALIDATE CONSTRAINT orders_reference_check;
ALTER TABLE orders VALIDATE CONSTRAINT orders_metadata_check;
ALTER TABLE invoices VALIDATE CONSTRAINT invoices_reference_check;
ALTER TABLE invoices VALIDATE CONSTRAINT invoices_metadata_check;
ALTER TABLE ledger_entries VALIDATE CONSTRAINT ledger_entries_contras_check;
ALTER TABLE ledger_entries VALIDATE CONSTRAINT ledger_entries_reasons_check;

-- Partial: a document without a reference costs these nothing.
DROP INDEX CONCURRENTLY IF EXISTS orders_reference_key;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS orders_reference_key
ON orders (reference) WHERE reference IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS invoices_reference_key;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS invoices_reference_key
ON invoices (reference) WHERE reference IS NOT NULL;
