-- drill/list_entries: audit after a drill: every entry of every ledger, and what committed it
-- Params:  none
-- Locks:   none
-- Rows:    user_id bigint, id bigint, amount bigint, balance_after bigint, reference text,
--          transaction text, created_at timestamptz; one per entry, by user and id
-- Index:   none, every row is read
SELECT
    user_id,
    id,
    amount,
    balance_after,
    reference,
    xmin::text AS transaction,
    created_at
FROM ledger_entries
ORDER BY user_id, id
