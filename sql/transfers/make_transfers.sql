-- transfers/make_transfers: make transfers, as decided by transfers.rules: post both entries of
--     each, move the balances, and append the events
-- Params:  $1 from_user_ids bigint[]         one per transfer, in the order of the decisions
--          $2 to_user_ids bigint[]           same length
--          $3 amounts bigint[]               minor units, same length
--          $4 from_balances_after bigint[]   minor units, same length
--          $5 to_balances_after bigint[]     minor units, same length
--          $6 labels text[]                  same length
--          $7 refs text?[]                   same length, unique but for nulls: the references
--          $8 metadata jsonb?[]              same length
--          $9 request_ids text?[]            same length
--          $10 actors text[]                 same length
--          $11 traceparents text?[]          same length
--          $12 user_ids bigint[]             unique, those of $1 and $2
-- Locks:   none new, as the caller holds accounts/lock_users; but the references: another
--          transaction that makes a transfer with one of them waits
-- Rows:    id bigint, created_at timestamptz; one per transfer, in the order of the input: ids are
--          drawn in that order, but transfers with references come first, in the order of these.
--          The time is now, but not before the last ledger entry of either user, those of the
--          transfers before it included
-- Index:   ledger_entries_pkey, users_pkey
WITH RECURSIVE new AS (
    SELECT
        *,
        -- By references: two transactions wait for each other's at most in one direction.
        row_number() OVER (ORDER BY reference COLLATE "C", ordinal) AS place
    FROM
        unnest(
            $1::bigint[],
            $2::bigint[],
            $3::bigint[],
            $4::bigint[],
            $5::bigint[],
            $6::text[],
            $7::text[],
            $8::jsonb[],
            $9::text[],
            $10::text[],
            $11::text[]
        )
        WITH ORDINALITY
            AS input (
                from_user_id,
                to_user_id,
                amount,
                from_balance_after,
                to_balance_after,
                label,
                reference,
                metadata,
                request_id,
                actor,
                traceparent,
                ordinal
            )
),

last AS MATERIALIZED (
    SELECT
        account.user_id,
        (
            SELECT entry.created_at
            FROM ledger_entries AS entry
            WHERE entry.user_id = account.user_id
            ORDER BY entry.id DESC
            LIMIT 1
        ) AS created_at
    FROM unnest($12::bigint[]) AS account (user_id)
),

-- Accounts whose last entry is of a clock that is ahead of this one. There are hardly ever any, and
-- then the steps from here to the insert read nothing.
ahead AS (
    SELECT
        user_id,
        created_at
    FROM last
    WHERE created_at > statement_timestamp()
),

delayed AS MATERIALIZED (
    SELECT
        new.ordinal,
        max(ahead.created_at) AS created_at
    FROM ahead
    INNER JOIN new ON ahead.user_id IN (new.from_user_id, new.to_user_id)
    GROUP BY new.ordinal
),

side AS (
    SELECT
        ordinal,
        from_user_id AS user_id
    FROM new
    UNION ALL
    SELECT
        ordinal,
        to_user_id AS user_id
    FROM new
),

-- From each transfer to the next one of either of its users.
step AS MATERIALIZED (
    SELECT
        ordinal,
        lead(ordinal) OVER (PARTITION BY user_id ORDER BY ordinal) AS next_ordinal
    FROM side
),

-- A transfer hands its time on, as long as it is later than what the next one has of its own.
carried AS (
    SELECT
        ordinal,
        created_at
    FROM delayed
    UNION
    SELECT
        step.next_ordinal AS ordinal,
        carried.created_at
    FROM carried
    INNER JOIN step ON carried.ordinal = step.ordinal AND step.next_ordinal IS NOT NULL
    LEFT JOIN delayed ON step.next_ordinal = delayed.ordinal
    WHERE carried.created_at > coalesce(delayed.created_at, '-infinity')
),

due AS (
    SELECT
        ordinal,
        max(created_at) AS created_at
    FROM carried
    GROUP BY ordinal
),

made AS (
    INSERT INTO transfers (
        from_user_id, to_user_id, amount, created_at, label, reference, metadata
    )
    SELECT
        new.from_user_id,
        new.to_user_id,
        new.amount,
        -- The transaction's now() may be older than what it has waited for.
        greatest(statement_timestamp(), due.created_at) AS created_at,
        new.label,
        new.reference,
        new.metadata
    FROM new
    LEFT JOIN due ON new.ordinal = due.ordinal
    ORDER BY new.place
    RETURNING id, created_at
),

numbered AS (
    SELECT
        *,
        row_number() OVER (ORDER BY id) AS place
    FROM made
),

transfer AS (
    SELECT
        new.*,
        numbered.id,
        numbered.created_at
    FROM numbered
    INNER JOIN new ON numbered.place = new.place
),

posted AS (
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
        side.user_id,
        side.amount,
        side.balance_after,
        'transfer' AS reason,
        'transfer:' || transfer.id AS reference,
        'transfer' AS document_kind,
        transfer.id AS document_id,
        'transfers' AS contra,
        transfer.actor,
        transfer.created_at
    FROM transfer
    CROSS JOIN
        LATERAL (
            VALUES
            (transfer.from_user_id, -transfer.amount, transfer.from_balance_after),
            (transfer.to_user_id, transfer.amount, transfer.to_balance_after)
        ) AS side (user_id, amount, balance_after)
    ORDER BY transfer.ordinal, side.amount
    RETURNING user_id, amount
),

change AS (
    SELECT
        user_id,
        sum(amount)::bigint AS amount
    FROM posted
    GROUP BY user_id
),

moved AS (
    UPDATE users
    SET balance = users.balance + change.amount
    FROM change
    WHERE
        -- Not only the join: planned while there are few users, it would go on to read all.
        users.id = any($12::bigint[])
        AND users.id = change.user_id
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'transfer.made' AS name,
        'transfer:' || id AS subject,
        jsonb_build_object(
            'transfer_id', id,
            'from_user_id', from_user_id,
            'to_user_id', to_user_id,
            'amount', amount,
            'label', label,
            'from_balance_after', from_balance_after,
            'to_balance_after', to_balance_after
        ) AS payload,
        request_id,
        actor,
        traceparent,
        created_at
    FROM transfer
    ORDER BY ordinal
)

SELECT
    id,
    created_at
FROM transfer
ORDER BY ordinal
