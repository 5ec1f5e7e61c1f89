DROP TRIGGER ledger_entries_backfill_only ON ledger_entries;
DROP TRIGGER ledger_entries_backfill ON ledger_entries;
CREATE OR REPLACE TRIGGER ledger_entries_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
COMMENT ON TRIGGER ledger_entries_append_only ON ledger_entries IS
'Refuses UPDATE, DELETE and TRUNCATE to everybody, the owner included.';
DROP TRIGGER ledger_entries_name_document ON ledger_entries;
DROP FUNCTION name_ledger_document();
COMMENT ON COLUMN outbox.created_at IS
'When it happened: start of the transaction that caused it.';
COMMENT ON COLUMN deployments.created_at IS 'When it was asked for: start of that transaction.';
COMMENT ON COLUMN projects.created_at IS
'When it was created: start of that transaction, or what an import says.';
COMMENT ON COLUMN invoices.paid_at IS 'When it was paid; null until then.';
COMMENT ON COLUMN invoices.created_at IS 'When it was issued: start of that transaction.';
COMMENT ON COLUMN orders.settled_at IS 'When it was approved or refused; null while it is pending.';
COMMENT ON COLUMN orders.created_at IS 'When it was placed: start of that transaction.';
COMMENT ON COLUMN ledger_entries.created_at IS
'Start of the transaction that posted it. Not the order of a user''s entries: that is id.';
COMMENT ON COLUMN ledger_entries.reference IS
'The document, as kind:id, such as invoice:7. Not a foreign key: it points to several tables.';
COMMENT ON COLUMN ledger_entries.reason IS 'What kind of document moved the money.';
ALTER TABLE ledger_entries DROP COLUMN contra;
ALTER TABLE ledger_entries DROP COLUMN document_id;
ALTER TABLE ledger_entries DROP COLUMN document_kind;
DROP TRIGGER invoices_not_truncated ON invoices;
DROP TRIGGER invoices_paid_kept ON invoices;
DROP TRIGGER invoices_paid_for_good ON invoices;
DROP TRIGGER order_items_not_truncated ON order_items;
DROP TRIGGER order_items_settled_for_good ON order_items;
DROP FUNCTION refuse_settled_item_change();
DROP TRIGGER orders_not_truncated ON orders;
DROP TRIGGER orders_settled_kept ON orders;
DROP TRIGGER orders_settled_for_good ON orders;
DROP FUNCTION refuse_settled_change();
