-- Money moves by refunds, reversals and transfers, too, and documents have references and metadata.
-- depends: 0037_api_keys

-- Each new CHECK allows what the one that it replaces allows, so that release 0.2.0 goes on.
ALTER TABLE orders ADD COLUMN reference text;
ALTER TABLE orders ADD COLUMN metadata jsonb;
ALTER TABLE orders ADD CONSTRAINT orders_reference_check
CHECK (length(reference) BETWEEN 1 AND 100) NOT VALID;
ALTER TABLE orders ADD CONSTRAINT orders_metadata_check
CHECK (jsonb_typeof(metadata) = 'object') NOT VALID;

ALTER TABLE invoices ADD COLUMN reference text;
ALTER TABLE invoices ADD COLUMN metadata jsonb;
ALTER TABLE invoices ADD CONSTRAINT invoices_reference_check
CHECK (length(reference) BETWEEN 1 AND 100) NOT VALID;
ALTER TABLE invoices ADD CONSTRAINT invoices_metadata_check
CHECK (jsonb_typeof(metadata) = 'object') NOT VALID;

ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_contras_check CHECK (
    (document_kind, contra) IN (
        ('order', 'sales'),
        ('refund', 'sales'),
        ('invoice', 'payables'),
        ('reversal', 'payables'),
        ('transfer', 'transfers'),
        ('opening', 'opening')
    )
) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_contra_check;
ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_reasons_check CHECK (
    reason IN (
        'opening_balance', 'benefit_order', 'order', 'invoice', 'refund', 'reversal', 'transfer'
    )
) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_reason_check;

COMMENT ON COLUMN orders.reference IS
'What the client calls the order, unique among orders; null if it named none.';
COMMENT ON COLUMN orders.metadata IS
'What the client has noted on it: at most 20 short texts by name; null if nothing.';
COMMENT ON COLUMN invoices.reference IS
'What the client calls the invoice, unique among invoices; null if it named none.';
COMMENT ON COLUMN invoices.metadata IS
'What the client has noted on it: at most 20 short texts by name; null if nothing.';
COMMENT ON COLUMN ledger_entries.document_kind IS
'What moved the money: order, refund, invoice, reversal, transfer, or the opening of the account. '
'With document_id and user_id unique: one document moves a user''s money once.';
COMMENT ON COLUMN ledger_entries.document_id IS
'The id of the document, or of the user whose account was opened. Not a foreign key: it points to '
'several tables, whose triggers keep what has moved money.';
COMMENT ON COLUMN ledger_entries.contra IS
'The account on the other side: sales (orders and refunds), payables (invoices and reversals), '
'transfers, whose entries add up to nothing, or opening.';
