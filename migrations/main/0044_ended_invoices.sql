-- An invoice may be void, or reversed after it was paid.
-- depends: 0041_order_lists

ALTER TABLE invoices ADD COLUMN voided_at timestamptz;
ALTER TABLE invoices ADD COLUMN reversed_at timestamptz;

-- Each new CHECK allows what the one that it replaces allows, so that release 0.2.0 goes on.
ALTER TABLE invoices ADD CONSTRAINT invoices_statuses_check
CHECK (status IN ('pending', 'paid', 'void', 'reversed')) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE invoices DROP CONSTRAINT invoices_status_check;
ALTER TABLE invoices ADD CONSTRAINT invoices_times_check CHECK (
    (status IN ('paid', 'reversed')) = (paid_at IS NOT NULL)
    AND (status = 'void') = (voided_at IS NOT NULL)
    AND (status = 'reversed') = (reversed_at IS NOT NULL)
) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE invoices DROP CONSTRAINT invoices_paid_at_check;

CREATE OR REPLACE TRIGGER invoices_paid_for_good
AFTER UPDATE ON invoices
FOR EACH ROW
WHEN (
    old.status <> 'pending'
    AND (
        old.id, old.status, old.amount, old.user_id, old.paid_at, old.voided_at, old.reversed_at
    ) IS DISTINCT FROM (
        new.id, new.status, new.amount, new.user_id, new.paid_at, new.voided_at, new.reversed_at
    )
    -- The one way on: a paid invoice is reversed, and nothing else of it changes.
    AND NOT (
        old.status = 'paid'
        AND new.status = 'reversed'
        AND (old.id, old.amount, old.user_id, old.paid_at)
        IS NOT DISTINCT FROM (new.id, new.amount, new.user_id, new.paid_at)
    )
)
EXECUTE FUNCTION refuse_settled_change();

COMMENT ON TABLE invoices IS
'What users have billed; paying one credits the user''s balance, once, and reversing it takes that '
'back. Pages keep room (fillfactor) so that a paid version stays on its page; heap-only it is not, '
'as status is indexed.';
COMMENT ON COLUMN invoices.status IS
'pending, then paid or void. A paid one may be reversed. void and reversed are for good.';
COMMENT ON COLUMN invoices.paid_at IS
'When it was paid, as in its ledger entry; null if it was not. A reversed one keeps it.';
COMMENT ON COLUMN invoices.voided_at IS 'When it became void; null if it is not.';
COMMENT ON COLUMN invoices.reversed_at IS
'When it was reversed, as in the second of its ledger entries; null if it is not.';
COMMENT ON TRIGGER invoices_paid_for_good ON invoices IS
'Refuses to set back an invoice that is paid, void or reversed, or to change its amount, user or '
'times. A paid one may be reversed.';
COMMENT ON TRIGGER invoices_paid_kept ON invoices IS
'Refuses to delete an invoice that is paid, void or reversed.';
COMMENT ON FUNCTION refuse_settled_change() IS
'Trigger function: raises 23001 (restrict_violation). Keeps documents that are settled, or have '
'moved money.';
