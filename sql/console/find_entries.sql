-- console/find_entries: find the ledger entries of documents, in the order in which they were
--     posted
-- Params:  $1 kinds text[]    of the documents
--          $2 ids bigint[]    same length; no document twice
-- Locks:   none
-- Rows:    id bigint, user_id bigint, amount bigint, balance_after bigint, reason text,
--          reference text, actor text?, created_at timestamptz; one per document and user, two of a
--          transfer
-- Index:   ledger_entries_document_key
SELECT
    entry.id,
    entry.user_id,
    entry.amount,
    entry.balance_after,
    entry.reason,
    entry.reference,
    entry.actor,
    entry.created_at
FROM unnest($1::text[], $2::bigint[]) AS document (kind, id)
-- One by one, by the index: a document has one entry, a transfer two.
CROSS JOIN
    LATERAL (  -- noqa: ST05
        SELECT ledger_entries.*
        FROM ledger_entries
        WHERE
            ledger_entries.document_kind = document.kind
            AND ledger_entries.document_id = document.id
        ORDER BY ledger_entries.user_id
        LIMIT 2
    ) AS entry
ORDER BY entry.created_at, entry.id
