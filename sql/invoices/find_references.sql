-- invoices/find_references: tell which references invoices have
-- Params:  $1 wanted text[]   unique
-- Locks:   none
-- Rows:    reference text; one per reference that an invoice has
-- Index:   invoices_reference_key
SELECT reference
FROM invoices
WHERE reference = any($1::text[])
