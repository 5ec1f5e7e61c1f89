CREATE OR REPLACE TRIGGER ledger_entries_append_only
BEFORE DELETE OR TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER ledger_entries_backfill
BEFORE UPDATE ON ledger_entries
FOR EACH ROW
WHEN (old.document_kind IS NULL AND old IS NOT DISTINCT FROM new)
EXECUTE FUNCTION name_ledger_document();
CREATE TRIGGER ledger_entries_backfill_only
BEFORE UPDATE ON ledger_entries
FOR EACH ROW
WHEN (old.document_kind IS NOT NULL OR (
    old.id, old.user_id, old.amount, old.balance_after,
    old.reason, old.reference, old.created_at
) IS DISTINCT FROM (
    new.id, new.user_id, new.amount, new.balance_after,
    new.reason, new.reference, new.created_at
))
EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_document_check CHECK (
    document_kind IS NOT NULL AND document_id IS NOT NULL AND contra IS NOT NULL
);
ALTER TABLE ledger_entries ALTER COLUMN contra DROP NOT NULL;
ALTER TABLE ledger_entries ALTER COLUMN document_id DROP NOT NULL;
ALTER TABLE ledger_entries ALTER COLUMN document_kind DROP NOT NULL;
