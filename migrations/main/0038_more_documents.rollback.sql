ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_reason_check CHECK (
    reason IN ('opening_balance', 'benefit_order', 'order', 'invoice')
);
ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_reasons_check;
ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_contra_check CHECK (
    (document_kind, contra) IN (
        ('order', 'sales'), ('invoice', 'payables'), ('opening', 'opening')
    )
);
ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_contras_check;
ALTER TABLE invoices DROP COLUMN metadata, DROP COLUMN reference;
ALTER TABLE orders DROP COLUMN metadata, DROP COLUMN reference;
