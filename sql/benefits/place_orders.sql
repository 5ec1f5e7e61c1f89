-- benefits/place_orders: write benefit orders with their items, hand those to their buyers, take
--     the money, and append the events
-- Params:  $1 user_ids bigint[]         one per order
--          $2 amounts bigint[]          minor units, same length
--          $3 balances_after bigint[]   minor units, same length
--          $4 payloads jsonb[]          same length; of the events, to which order_id is added
--          $5 request_ids text?[]       same length
--          $6 actors text[]             same length
--          $7 traceparents text?[]      same length
--          $8 item_orders bigint[]      one per item: which of the orders above, from 1
--          $9 item_products bigint[]    same length as $8
--          $10 item_prices bigint[]     minor units, same length as $8
-- Locks:   products rows FOR KEY SHARE, by foreign keys; the caller holds
--          accounts/lock_users_by_name
-- Rows:    id bigint, settled_at timestamptz; one per order, in the order of the input: ids are
--          drawn in that order, and so are those of items. The time is now, but not before the
--          buyer's last ledger entry
-- Index:   ledger_entries_pkey, users_pkey
WITH new AS (
    SELECT
        input.*,
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
        ) AS settled_at
    FROM
        unnest(
            $1::bigint[],
            $2::bigint[],
            $3::bigint[],
            $4::jsonb[],
            $5::text[],
            $6::text[],
            $7::text[]
        )
        WITH ORDINALITY
            AS input (
                user_id, amount, balance_after, payload, request_id, actor, traceparent, ordinal
            )
),

placed AS (
    INSERT INTO orders (user_id, status, amount, request_id, created_at, settled_at)
    SELECT
        user_id,
        'approved' AS status,
        amount,
        request_id,
        -- The same for both, by which a refund knows a benefit order that has cost nothing.
        settled_at AS created_at,
        settled_at
    FROM new
    ORDER BY ordinal
    RETURNING id
),

numbered AS (
    SELECT
        id,
        row_number() OVER (ORDER BY id) AS ordinal
    FROM placed
),

benefit AS (
    SELECT
        numbered.id,
        new.*
    FROM numbered
    INNER JOIN new ON numbered.ordinal = new.ordinal
),

item AS (
    SELECT
        benefit.id AS order_id,
        benefit.user_id,
        input.product_id,
        input.price,
        input.line
    FROM
        unnest($8::bigint[], $9::bigint[], $10::bigint[])
        WITH ORDINALITY
            AS input (ordinal, product_id, price, line)
    INNER JOIN benefit ON input.ordinal = benefit.ordinal
),

listed AS (
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT
        order_id,
        product_id,
        1 AS quantity,
        price
    FROM item
    ORDER BY line
),

owned AS (
    INSERT INTO owned_products (user_id, product_id)
    SELECT
        user_id,
        product_id
    FROM item
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
        'benefit_order' AS reason,
        'order:' || id AS reference,
        'order' AS document_kind,
        id AS document_id,
        'sales' AS contra,
        actor,
        settled_at
    FROM benefit
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

paid AS (
    UPDATE users
    SET balance = users.balance + change.amount
    FROM change
    WHERE users.id = change.user_id
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'benefit_order.placed' AS name,
        'order:' || id AS subject,
        payload || jsonb_build_object('order_id', id) AS payload,
        request_id,
        actor,
        traceparent,
        settled_at
    FROM benefit
    ORDER BY ordinal
)

SELECT
    id,
    settled_at
FROM benefit
ORDER BY ordinal
