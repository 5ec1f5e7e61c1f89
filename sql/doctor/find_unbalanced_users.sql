-- doctor/find_unbalanced_users: audit balances: each is the sum of the user's ledger entries
-- Params:  $1 after bigint       only users with a higher id
--          $2 upto bigint        only users up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, username text, balance bigint, ledger_total numeric; one per difference
-- Index:   users_pkey, ledger_entries_pkey
WITH total AS (
    SELECT
        user_id,
        sum(amount) AS amount
    FROM ledger_entries
    WHERE user_id > $1 AND user_id <= $2
    GROUP BY user_id
)

SELECT
    users.id,
    users.username,
    users.balance,
    coalesce(total.amount, 0) AS ledger_total
FROM users
LEFT JOIN total ON users.id = total.user_id
WHERE users.id > $1 AND users.id <= $2 AND users.balance <> coalesce(total.amount, 0)
ORDER BY users.id
LIMIT $3
