-- doctor/find_broken_chains: audit ledgers: each entry goes on from the balance before it
-- Params:  $1 after bigint       only users with a higher id
--          $2 upto bigint        only users up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    user_id bigint, id bigint, balance_before numeric, amount bigint, balance_after bigint;
--          one per entry that does not
-- Index:   ledger_entries_pkey
WITH entry AS (
    SELECT
        user_id,
        id,
        amount,
        balance_after,
        -- numeric, as the sum may be beyond bigint.
        coalesce(lag(balance_after) OVER (PARTITION BY user_id ORDER BY id), 0)::numeric
            AS balance_before
    FROM ledger_entries
    WHERE user_id > $1 AND user_id <= $2
)

SELECT
    user_id,
    id,
    balance_before,
    amount,
    balance_after
FROM entry
WHERE balance_after <> balance_before + amount
ORDER BY user_id, id
LIMIT $3
