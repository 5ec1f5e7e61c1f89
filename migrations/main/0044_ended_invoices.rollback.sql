COMMENT ON FUNCTION refuse_settled_change() IS
'Trigger function: raises 23001 (restrict_violation). Keeps settled orders and paid invoices.';
COMMENT ON TRIGGER invoices_paid_kept ON invoices IS 'Refuses to delete a paid invoice.';
COMMENT ON COLUMN invoices.paid_at IS
'When it was paid, as in its ledger entry; null until then.';
COMMENT ON COLUMN invoices.status IS 'pending, then paid for good.';
COMMENT ON TABLE invoices IS
'What users have billed; paying one credits the user''s balance, once. Pages keep room '
'(fillfactor) so that a paid version stays on its page; heap-only it is not, as status is indexed.';
CREATE OR REPLACE TRIGGER invoices_paid_for_good
AFTER UPDATE ON invoices
FOR EACH ROW
WHEN (
    old.status <> 'pending'
    AND (old.id, old.status, old.amount, old.user_id, old.paid_at)
    IS DISTINCT FROM (new.id, new.status, new.amount, new.user_id, new.paid_at)
)
EXECUTE FUNCTION refuse_settled_change();
COMMENT ON TRIGGER invoices_paid_for_good ON invoices IS
'Refuses to set a paid invoice back, or to change its amount, user or time.';
-- Fails while an invoice is void or reversed: those can't be told to the release before.
ALTER TABLE invoices ADD CONSTRAINT invoices_paid_at_check
CHECK ((status = 'paid') = (paid_at IS NOT NULL));
ALTER TABLE invoices DROP CONSTRAINT invoices_times_check;
ALTER TABLE invoices ADD CONSTRAINT invoices_status_check CHECK (status IN ('pending', 'paid'));
ALTER TABLE invoices DROP CONSTRAINT invoices_statuses_check;
ALTER TABLE invoices DROP COLUMN reversed_at, DROP COLUMN voided_at;
