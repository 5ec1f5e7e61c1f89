-- doctor/compare_reversals: audit reversed invoices against the ledger, both ways: each has an
--     entry that takes its amount back from its user, and each such entry has its document
-- Params:  $1 after bigint       only documents with a higher id
--          $2 upto bigint        only documents up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    document_id bigint, user_id bigint?, amount bigint?, entry_id bigint?,
--          entry_user_id bigint?, entry_amount bigint?; one per difference. The first three are
--          null for an entry without a document, the others for a document without an entry
-- Index:   invoices_pkey, ledger_entries_document_key
WITH page AS MATERIALIZED (
    -- By ids alone: through an index of statuses, each page would read all of them.
    SELECT
        id,
        user_id,
        amount,
        status
    FROM invoices
    WHERE id > $1 AND id <= $2
),

document AS (
    SELECT
        id,
        user_id,
        amount
    FROM page
    WHERE status = 'reversed'
),

entry AS (
    SELECT
        id,
        user_id,
        document_id,
        amount
    FROM ledger_entries
    WHERE document_kind = 'reversal' AND document_id > $1 AND document_id <= $2
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
WHERE document.amount IS DISTINCT FROM -entry.amount
ORDER BY coalesce(document.id, entry.document_id), entry.id
LIMIT $3
