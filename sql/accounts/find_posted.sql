-- accounts/find_posted: find which documents of one kind have moved money already
-- Params:  $1 document_kind text
--          $2 document_ids bigint[]   unique
-- Locks:   none; the caller has locked the documents
-- Rows:    document_id bigint; one per entry found
-- Index:   ledger_entries_document_key
SELECT document_id
FROM ledger_entries
WHERE document_kind = $1 AND document_id = any($2::bigint[])
