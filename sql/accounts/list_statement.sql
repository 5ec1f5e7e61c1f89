-- accounts/list_statement: read a page of a user's ledger, oldest first
-- Params:  $1 user_id bigint
--          $2 after bigint       only entries with a higher id
--          $3 last bigint        and none with a higher one than this
--          $4 page_size bigint
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
WHERE user_id = $1 AND id > $2 AND id <= $3
ORDER BY id
LIMIT $4
