-- invoices/reverse_invoices: mark paid invoices as reversed, as decided by invoices.rules, debit
--     their users, and append the events
-- Params:  $1 invoice_ids bigint[]      unique, in the order of the reversals
--          $2 balances_after bigint[]   minor units, same length
--          $3 payloads jsonb[]          same length; of the events, to which reversed_at is added
--          $4 request_ids text?[]       same length
--          $5 actors text[]             same length
--          $6 traceparents text?[]      same length
-- Locks:   none new; the caller holds invoices/lock_invoices and accounts/lock_users
-- Rows:    id bigint, reversed_at timestamptz; one per input: now, but not before the last ledger
--          entry of the invoice's user
-- Index:   invoices_pkey, ledger_entries_pkey, users_pkey
WITH ended AS (
    UPDATE invoices
    SET
        status = 'reversed',
        -- The transaction's now() may be older than what it has waited for.
        reversed_at = greatest(
            statement_timestamp(),
            (
                SELECT last.created_at
                FROM ledger_entries AS last
                WHERE last.user_id = invoices.user_id
                ORDER BY last.id DESC
                LIMIT 1
            )
        )
    -- Not a join: planned while there are few invoices, it would go on to read all.
    WHERE id = any($1::bigint[])
    RETURNING id, user_id, amount, reversed_at
),

reversed AS (
    SELECT
        ended.*,
        reversal.balance_after,
        reversal.payload,
        reversal.request_id,
        reversal.actor,
        reversal.traceparent,
        reversal.ordinal
    FROM
        unnest($1::bigint[], $2::bigint[], $3::jsonb[], $4::text[], $5::text[], $6::text[])
        WITH ORDINALITY
            AS reversal (
                invoice_id, balance_after, payload, request_id, actor, traceparent, ordinal
            )
    INNER JOIN ended ON reversal.invoice_id = ended.id
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
        user_id,
        -amount AS amount,
        balance_after,
        'reversal' AS reason,
        'reversal:' || id AS reference,
        'reversal' AS document_kind,
        id AS document_id,
        'payables' AS contra,
        actor,
        reversed_at
    FROM reversed
    ORDER BY ordinal
    RETURNING user_id, amount
),

change AS (
    SELECT
        user_id,
        sum(amount)::bigint AS amount
    FROM posted
    GROUP BY user_id
),

debited AS (
    UPDATE users
    SET balance = users.balance + change.amount
    FROM change
    WHERE users.id = change.user_id
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'invoice.reversed' AS name,
        'invoice:' || id AS subject,
        payload || jsonb_build_object(
            'reversed_at', to_char(reversed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS payload,
        request_id,
        actor,
        traceparent,
        reversed_at
    FROM reversed
    ORDER BY ordinal
)

SELECT
    id,
    reversed_at
FROM reversed
