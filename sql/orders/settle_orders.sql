-- orders/settle_orders: approve or refuse orders, as decided by orders.rules, debit the users of
--     approved ones, and append the events
-- Params:  $1 order_ids bigint[]         unique, in the order of the settlements
--          $2 statuses text[]            same length
--          $3 reasons text?[]            same length; null for an approved one
--          $4 balances_after bigint?[]   minor units, same length; null where no money moves
--          $5 payloads jsonb[]           same length; of the events
--          $6 actors text[]              same length
-- Locks:   none new; the caller holds orders/lock_pending, and the users of approved orders
-- Rows:    id bigint, settled_at timestamptz; one per input but for an order that is refused and in
--          the ledger: now, but not before the last ledger entry of the order's user
-- Index:   orders_pkey, ledger_entries_pkey, ledger_entries_document_key, users_pkey
WITH settled AS (
    UPDATE orders
    SET
        status = settlement.status,
        reason = settlement.reason,
        -- The transaction's now() may be older than what it has waited for.
        settled_at = greatest(
            statement_timestamp(),
            (
                SELECT last.created_at
                FROM ledger_entries AS last
                WHERE last.user_id = orders.user_id
                ORDER BY last.id DESC
                LIMIT 1
            )
        )
    FROM
        unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[], $6::text[])
        WITH ORDINALITY
            AS settlement (order_id, status, reason, balance_after, payload, actor, ordinal)
    WHERE
        -- Not only the join: planned while there are few orders, it would go on to read all.
        orders.id = any($1::bigint[])
        AND orders.id = settlement.order_id
        AND (
            settlement.status = 'approved'
            -- Not a join, which would read the ledger for approved orders, too.
            OR (
                SELECT count(*) = 0
                FROM ledger_entries AS entry
                WHERE entry.document_kind = 'order' AND entry.document_id = orders.id
            )
        )
    RETURNING
        orders.id,
        orders.user_id,
        orders.status,
        orders.amount,
        orders.request_id,
        orders.traceparent,
        orders.settled_at,
        settlement.balance_after,
        settlement.payload,
        settlement.actor,
        settlement.ordinal
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
        'order' AS reason,
        'order:' || id AS reference,
        'order' AS document_kind,
        id AS document_id,
        'sales' AS contra,
        actor,
        settled_at
    FROM settled
    WHERE balance_after IS NOT NULL AND amount > 0
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
        'order.' || status AS name,
        'order:' || id AS subject,
        payload,
        request_id,
        actor,
        traceparent,
        settled_at
    FROM settled
    ORDER BY ordinal
)

SELECT
    id,
    settled_at
FROM settled
