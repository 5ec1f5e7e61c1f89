-- accounts/find_unbalanced_users: audit the money: users whose ledger does not add up to their
--     balance
-- Params:  $1 page_size bigint
-- Locks:   none
-- Rows:    id bigint, username text, balance bigint, ledger_total numeric; one per difference
-- Index:   none, every row of both tables is read
WITH total AS (
    SELECT
        user_id,
        sum(amount) AS amount
    FROM ledger_entries
    GROUP BY user_id
)

SELECT
    users.id,
    users.username,
    users.balance,
    coalesce(total.amount, 0) AS ledger_total
FROM users
LEFT JOIN total ON users.id = total.user_id
WHERE users.balance <> coalesce(total.amount, 0)
ORDER BY users.id
LIMIT $1
