-- refunds/refund_orders: write refunds, as decided by refunds.rules, credit the users, take back
--     what benefit orders had bought, and append the events
-- Params:  $1 order_ids bigint[]        one per refund, in the order of the refunds
--          $2 user_ids bigint[]         same length; of the orders
--          $3 amounts bigint[]          minor units, same length
--          $4 balances_after bigint[]   minor units, same length
--          $5 refs text?[]              same length, unique; what clients call the refunds
--          $6 metadata jsonb?[]         same length
--          $7 payloads jsonb[]          same length; of the events, to which refund_id is added
--          $8 request_ids text?[]       same length
--          $9 actors text[]             same length
--          $10 traceparents text?[]     same length
--          $11 are_benefits boolean[]   same length; whether of benefit orders
-- Locks:   orders rows and users rows FOR KEY SHARE, by foreign keys; the caller holds
--          orders/lock_orders and accounts/lock_users
-- Rows:    id bigint, created_at timestamptz; one per refund, in the order of the input: ids are
--          drawn in that order, but refunds with references come first, in the order of these.
--          The time is now, but not before the user's last ledger entry
-- Index:   ledger_entries_pkey, orders_pkey, users_pkey, order_items_pkey, owned_products_pkey
WITH new AS (
    SELECT
        input.*,
        -- By references: two transactions wait for each other's at most in one direction.
        row_number() OVER (ORDER BY reference COLLATE "C", ordinal) AS place,
        -- The transaction's now() may be older than what it has waited for.
        greatest(
            statement_timestamp(),
            (
                SELECT last.created_at
                FROM ledger_entries AS last
                WHERE last.user_id = input.user_id
                ORDER BY last.id DESC
                LIMIT 1
            )
        ) AS created_at
    FROM
        unnest(
            $1::bigint[],
            $2::bigint[],
            $3::bigint[],
            $4::bigint[],
            $5::text[],
            $6::jsonb[],
            $7::jsonb[],
            $8::text[],
            $9::text[],
            $10::text[],
            $11::boolean[]
        )
        WITH ORDINALITY
            AS input (
                order_id,
                user_id,
                amount,
                balance_after,
                reference,
                metadata,
                payload,
                request_id,
                actor,
                traceparent,
                is_benefit,
                ordinal
            )
),

made AS (
    INSERT INTO refunds (order_id, user_id, amount, reference, metadata, created_at)
    SELECT
        order_id,
        user_id,
        amount,
        reference,
        metadata,
        created_at
    FROM new
    ORDER BY place
    RETURNING id
),

numbered AS (
    SELECT
        id,
        row_number() OVER (ORDER BY id) AS place
    FROM made
),

refund AS (
    SELECT
        numbered.id,
        new.*
    FROM numbered
    INNER JOIN new ON numbered.place = new.place
),

total AS (
    SELECT
        order_id,
        sum(amount)::bigint AS amount
    FROM refund
    GROUP BY order_id
),

noted AS (
    UPDATE orders
    SET refunded = orders.refunded + total.amount
    FROM total
    WHERE
        -- Not only the join: planned while there are few orders, it would go on to read all.
        orders.id = any($1::bigint[])
        AND orders.id = total.order_id
        AND total.amount > 0
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
        amount,
        balance_after,
        'refund' AS reason,
        'refund:' || id AS reference,
        'refund' AS document_kind,
        id AS document_id,
        'sales' AS contra,
        actor,
        created_at
    FROM refund
    WHERE amount > 0
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

credited AS (
    UPDATE users
    SET balance = users.balance + change.amount
    FROM change
    WHERE users.id = change.user_id
),

given_back AS (
    DELETE FROM owned_products
    -- By their places, which stay as long as the users are locked. A join that is planned while
    -- there are few would go on to read all.
    WHERE ctid = any(
        array(
            SELECT bought.place
            FROM refund
            INNER JOIN order_items AS item ON refund.order_id = item.order_id
            CROSS JOIN
                LATERAL (
                    SELECT owned.ctid AS place
                    FROM owned_products AS owned
                    WHERE owned.user_id = refund.user_id AND owned.product_id = item.product_id
                    ORDER BY owned.product_id
                    LIMIT 1
                ) AS bought
            WHERE
                refund.is_benefit
                AND item.order_id = any(
                    array(
                        SELECT benefit.order_id
                        FROM refund AS benefit
                        WHERE benefit.is_benefit
                    )
                )
        )
    )
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'order.refunded' AS name,
        'order:' || order_id AS subject,
        payload || jsonb_build_object('refund_id', id) AS payload,
        request_id,
        actor,
        traceparent,
        created_at
    FROM refund
    ORDER BY ordinal
)

SELECT
    id,
    created_at
FROM refund
ORDER BY ordinal
