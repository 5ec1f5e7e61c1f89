-- transfers/find_references: tell which references transfers have
-- Params:  $1 wanted text[]   unique
-- Locks:   none
-- Rows:    reference text; one per reference that a transfer has
-- Index:   transfers_reference_key
SELECT reference
FROM transfers
WHERE reference = any($1::text[])
