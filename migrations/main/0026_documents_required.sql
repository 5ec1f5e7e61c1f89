-- Every ledger entry names its document, and none is ever updated again.
-- depends: 0025_name_documents

-- Not a look at each row: the CHECK says that there is no null.
-- squawk-ignore adding-not-nullable-field
ALTER TABLE ledger_entries ALTER COLUMN document_kind SET NOT NULL;
-- squawk-ignore adding-not-nullable-field
ALTER TABLE ledger_entries ALTER COLUMN document_id SET NOT NULL;
-- squawk-ignore adding-not-nullable-field
ALTER TABLE ledger_entries ALTER COLUMN contra SET NOT NULL;
-- NOT NULL says the same now.
-- squawk-ignore ban-drop-constraint
ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_document_check;

DROP TRIGGER ledger_entries_backfill_only ON ledger_entries;
DROP TRIGGER ledger_entries_backfill ON ledger_entries;
CREATE OR REPLACE TRIGGER ledger_entries_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

COMMENT ON TRIGGER ledger_entries_append_only ON ledger_entries IS
'Refuses UPDATE, DELETE and TRUNCATE to everybody, the owner included.';
