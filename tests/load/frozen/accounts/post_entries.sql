-- Purpose: move money: append ledger entries and bring the balances up to date with them
-- Params:  $1 user_ids bigint[]         one per entry, in the order the entries happened
--          $2 amounts bigint[]          minor units, same length, never 0
--          $3 balances_after bigint[]   minor units, same length
--          $4 reasons text[]            same length
--          $5 refs text[]               same length, as kind:id
-- Locks:   none new; the caller holds accounts/lock_users
-- Rows:    none
-- Index:   users_pkey
WITH posted AS (
    INSERT INTO ledger_entries (user_id, amount, balance_after, reason, reference)
    SELECT
        entry.user_id,
        entry.amount,
        entry.balance_after,
        entry.reason,
        entry.reference
    FROM
        unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
        WITH ORDINALITY
            AS entry (user_id, amount, balance_after, reason, reference, ordinal)
    ORDER BY entry.ordinal
    RETURNING user_id, amount
),

change AS (
    SELECT
        user_id,
        sum(amount)::bigint AS amount
    FROM posted
    GROUP BY user_id
)

UPDATE users
SET balance = users.balance + change.amount
FROM change
WHERE users.id = change.user_id
