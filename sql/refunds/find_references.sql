-- refunds/find_references: tell which references refunds have
-- Params:  $1 wanted text[]   unique
-- Locks:   none
-- Rows:    reference text; one per reference that a refund has
-- Index:   refunds_reference_key
SELECT reference
FROM refunds
WHERE reference = any($1::text[])
