DROP TRIGGER invoices_ended_not_paid ON invoices;
DROP FUNCTION refuse_ended_payment();
