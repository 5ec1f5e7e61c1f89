-- drill/count_entries: audit after a drill: what the ledger says, by what it was for
-- Params:  none
-- Locks:   none
-- Rows:    reference text, amount bigint, entries bigint; one per reference and amount
-- Index:   none, every row is read
SELECT
    reference,
    amount,
    count(*) AS entries
FROM ledger_entries
GROUP BY reference, amount
