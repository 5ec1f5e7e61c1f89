-- doctor/compare_transfers: audit transfers against the ledger, both ways: each has two entries,
--     which take its amount from one user and give it to the other, and each entry has its document
-- Params:  $1 after bigint       only documents with a higher id
--          $2 upto bigint        only documents up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    document_id bigint, user_id bigint?, amount bigint?, entry_id bigint?,
--          entry_user_id bigint?, entry_amount bigint?; one per difference. An amount is what the
--          user gets, less than 0 of one who pays. The first three are null for an entry without a
--          document, the others for a document without an entry
-- Index:   transfers_pkey, ledger_entries_document_key
WITH document AS (
    SELECT
        transfers.id,
        side.user_id,
        side.amount
    FROM transfers
    CROSS JOIN
        LATERAL (
            VALUES
            (transfers.from_user_id, -transfers.amount),
            (transfers.to_user_id, transfers.amount)
        ) AS side (user_id, amount)
    WHERE transfers.id > $1 AND transfers.id <= $2
),

entry AS (
    SELECT
        id,
        user_id,
        document_id,
        amount
    FROM ledger_entries
    WHERE document_kind = 'transfer' AND document_id > $1 AND document_id <= $2
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
