-- accounts/list_ledger: read a page of a user's ledger, newest first
-- Params:  $1 user_id bigint
--          $2 before bigint      only entries with a lower id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, amount bigint, balance_after bigint, reason text, reference text,
--          created_at timestamptz; page_size at most
-- Index:   ledger_entries_pkey
SELECT
    id,
    amount,
    balance_after,
    reason,
    reference,
    created_at
FROM ledger_entries
WHERE user_id = $1 AND id < $2
ORDER BY id DESC
LIMIT $3
