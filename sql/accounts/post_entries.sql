-- accounts/post_entries: move money: append ledger entries and bring the balances up to date with
--     them
-- Params:  $1 user_ids bigint[]            one per entry, in the order the entries happened
--          $2 amounts bigint[]             minor units, same length, never 0
--          $3 balances_after bigint[]      minor units, same length
--          $4 reasons text[]               same length
--          $5 refs text[]                  same length, as kind:id
--          $6 document_kinds text[]        same length
--          $7 document_ids bigint[]        same length
--          $8 contras text[]               same length
--          $9 actors text[]                same length
--          $10 created_ats timestamptz?[]  same length; null: now
-- Locks:   none new; the caller holds accounts/lock_users, and no $10 is before the user's last
--          entry
-- Rows:    none
-- Index:   users_pkey
WITH posted AS (
    INSERT INTO ledger_entries (
        user_id,
        amount,
        balance_after,
        reason,
        reference,
        document_kind,
        document_id,
        contra,
        actor,
        created_at
    )
    SELECT
        entry.user_id,
        entry.amount,
        entry.balance_after,
        entry.reason,
        entry.reference,
        entry.document_kind,
        entry.document_id,
        entry.contra,
        entry.actor,
        coalesce(entry.created_at, statement_timestamp()) AS created_at
    FROM
        unnest(
            $1::bigint[],
            $2::bigint[],
            $3::bigint[],
            $4::text[],
            $5::text[],
            $6::text[],
            $7::bigint[],
            $8::text[],
            $9::text[],
            $10::timestamptz[]
        )
        WITH ORDINALITY
            AS entry (
                user_id,
                amount,
                balance_after,
                reason,
                reference,
                document_kind,
                document_id,
                contra,
                actor,
                created_at,
                ordinal
            )
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
