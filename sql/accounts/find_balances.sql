-- accounts/find_balances: read a user's balance before each of some times, by bisection: within a
--     user, times never run backwards with ids (0004)
-- Params:  $1 user_id bigint
--          $2 ends timestamptz[]      those before which entries count; infinity: all
--          $3 last bigint             entries with a higher id don't count
-- Locks:   none
-- Rows:    id bigint, balance bigint; one per time, in that order: the last entry that counts, and
--          the balance after it, in minor units; both 0 if none does. None for an unknown user
-- Index:   ledger_entries_pkey, users_pkey
WITH RECURSIVE newest AS (
    SELECT
        users.id AS user_id,
        coalesce(entry.id, 0) AS id,
        entry.created_at
    FROM users
    LEFT JOIN LATERAL (
        SELECT
            ledger_entries.id,
            ledger_entries.created_at
        FROM ledger_entries
        WHERE ledger_entries.user_id = users.id AND ledger_entries.id <= $3
        ORDER BY ledger_entries.id DESC
        LIMIT 1
    ) AS entry ON TRUE
    WHERE users.id = $1
),

-- No entry up to `found` is too late. Each round tries a bit of it, from the highest one on: is the
-- last entry up to there early enough, too? So the same ids are tried whatever comes later.
search AS (
    SELECT
        bound.ordinal,
        bound.before,
        newest.user_id,
        newest.id AS newest_id,
        CASE
            WHEN newest.created_at < bound.before THEN newest.id
            ELSE 0
        END AS found,
        CASE
            WHEN newest.created_at < bound.before THEN 0
            ELSE (1::bigint << 62)
        END AS step
    FROM newest
    CROSS JOIN unnest($2::timestamptz[]) WITH ORDINALITY AS bound (before, ordinal)
    UNION ALL
    SELECT
        search.ordinal,
        search.before,
        search.user_id,
        search.newest_id,
        CASE
            WHEN search.found + search.step > search.newest_id THEN search.found
            WHEN coalesce((
                SELECT entry.created_at < search.before
                FROM ledger_entries AS entry
                WHERE
                    entry.user_id = search.user_id
                    AND entry.id <= search.found + search.step
                ORDER BY entry.id DESC
                LIMIT 1
            ), TRUE) THEN search.found + search.step
            ELSE search.found
        END AS found,
        search.step >> 1 AS step
    FROM search
    WHERE search.step > 0
)

SELECT
    coalesce(entry.id, 0) AS id,
    coalesce(entry.balance_after, 0) AS balance
FROM search
LEFT JOIN LATERAL (
    SELECT
        ledger_entries.id,
        ledger_entries.balance_after
    FROM ledger_entries
    WHERE ledger_entries.user_id = search.user_id AND ledger_entries.id <= search.found
    ORDER BY ledger_entries.id DESC
    LIMIT 1
) AS entry ON TRUE
WHERE search.step = 0
ORDER BY search.ordinal
