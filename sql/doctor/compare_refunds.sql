-- doctor/compare_refunds: audit refunds against the ledger, both ways: each that moved money has
--     one entry, over its amount and of its user, and each entry has its document
-- Params:  $1 after bigint       only documents with a higher id
--          $2 upto bigint        only documents up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    document_id bigint, user_id bigint?, amount bigint?, entry_id bigint?,
--          entry_user_id bigint?, entry_amount bigint?; one per difference. The first three are
--          null for an entry without a document, the others for a document without an entry
-- Index:   refunds_pkey, ledger_entries_document_key
WITH document AS (
    SELECT
        id,
        user_id,
        amount
    FROM refunds
    WHERE id > $1 AND id <= $2 AND amount > 0
),

entry AS (
    SELECT
        id,
        user_id,
        document_id,
        amount
    FROM ledger_entries
    WHERE document_kind = 'refund' AND document_id > $1 AND document_id <= $2
)

SELECT
    coalesce(document.id, entry.document_id) AS document_id,
    document.user_id,
    document.amount,
    entry.id AS entry_id,
    entry.user_id AS entry_user_id,
    entry.amount AS entry_amount
FROM document
FULL JOIN entry ON document.id = entry.document_id AND document.user_id = entry.user_id
WHERE document.amount IS DISTINCT FROM entry.amount
ORDER BY coalesce(document.id, entry.document_id), entry.id
LIMIT $3
