-- doctor/compare_users: audit balances against ledgers: each is the sum of the user's entries, and
--     each entry goes on from the balance after the one before it
-- Params:  $1 after bigint       only users with a higher id
--          $2 upto bigint        only users up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, username text?, balance bigint?, ledger_total numeric,
--          broken_entry_id bigint?; one per user who differs. The name and the balance are null for
--          a user who is gone; the last is the first entry that does not go on from the one before
--          it, null if they all do
-- Index:   users_pkey, ledger_entries_pkey
WITH entry AS (
    SELECT
        user_id,
        id,
        amount,
        balance_after,
        lag(balance_after, 1, 0::bigint) OVER (PARTITION BY user_id ORDER BY id) AS balance_before
    FROM ledger_entries
    WHERE user_id > $1 AND user_id <= $2
),

ledger AS (
    SELECT
        user_id,
        sum(amount) AS total,
        -- numeric, as the sum of what is wrong may be beyond bigint.
        min(id) FILTER (WHERE balance_after <> balance_before::numeric + amount) AS broken_entry_id
    FROM entry
    GROUP BY user_id
),

account AS (
    SELECT
        id,
        username,
        balance
    FROM users
    WHERE id > $1 AND id <= $2
)

SELECT
    coalesce(account.id, ledger.user_id) AS id,
    account.username,
    account.balance,
    coalesce(ledger.total, 0) AS ledger_total,
    ledger.broken_entry_id
FROM account
-- Both ways: entries outlive a user who was deleted with the triggers disabled.
FULL JOIN ledger ON account.id = ledger.user_id
WHERE
    account.balance IS DISTINCT FROM coalesce(ledger.total, 0)
    OR ledger.broken_entry_id IS NOT NULL
ORDER BY coalesce(account.id, ledger.user_id)
LIMIT $3
