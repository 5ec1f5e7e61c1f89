-- Release 0.2.0 may pay an invoice that is void or reversed: it answers 409, not 500.
-- depends: 0051_catalogue_indexes

-- For release 0.2.0, which takes every invoice that is not paid for a pending one. It marks it as
-- paid and leaves the columns that it does not know, so the CHECK of its times would refuse that: a
-- 500. A document that has moved money already is an answer that it knows: a 409, and the other
-- payments of the batch go on. A later release drops the trigger.
CREATE FUNCTION refuse_ended_payment() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'invoice % is %: it is not paid', OLD.id, OLD.status
        USING ERRCODE = 'unique_violation', CONSTRAINT = 'ledger_entries_document_key';
END
$$;

COMMENT ON FUNCTION refuse_ended_payment() IS
'Trigger function: raises 23505 (unique_violation) as if the invoice were in the ledger already. '
'For release 0.2.0, which answers that with a 409.';

CREATE TRIGGER invoices_ended_not_paid
BEFORE UPDATE ON invoices
FOR EACH ROW
WHEN (new.status = 'paid' AND (new.voided_at IS NOT NULL OR new.reversed_at IS NOT NULL))
EXECUTE FUNCTION refuse_ended_payment();

COMMENT ON TRIGGER invoices_ended_not_paid ON invoices IS
'Refuses a payment, by release 0.2.0, of an invoice that is void or reversed.';
