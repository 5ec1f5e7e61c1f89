-- orders/create_orders: write pending orders with their items, and append the events
-- Params:  $1 user_ids bigint?[]          one per order; null for an order without a user
--          $2 amounts bigint[]            minor units, same length
--          $3 payloads jsonb[]            same length; of the events, to which order_id is added
--          $4 request_ids text?[]         same length
--          $5 actors text[]               same length
--          $6 traceparents text?[]        same length
--          $7 refs text?[]                same length, unique; what clients call the orders
--          $8 metadata jsonb?[]           same length
--          $9 item_orders bigint[]        one per item: which of the orders above, from 1
--          $10 item_products bigint[]     same length as $9
--          $11 item_quantities integer[]  same length as $9
--          $12 item_prices bigint[]       minor units for one, same length as $9
-- Locks:   users rows and products rows FOR KEY SHARE, by foreign keys
-- Rows:    order_id bigint, created_at timestamptz, id bigint; one per item, in the order of the
--          input. Ids of items are drawn in that order; those of orders, too, but orders with
--          references come first, in the order of these
-- Index:   none, rows are only added
WITH new AS (
    SELECT
        *,
        -- By references: two transactions wait for each other's at most in one direction.
        row_number() OVER (ORDER BY reference COLLATE "C", ordinal) AS place
    FROM
        unnest(
            $1::bigint[],
            $2::bigint[],
            $3::jsonb[],
            $4::text[],
            $5::text[],
            $6::text[],
            $7::text[],
            $8::jsonb[]
        )
        WITH ORDINALITY
            AS input (
                user_id,
                amount,
                payload,
                request_id,
                actor,
                traceparent,
                reference,
                metadata,
                ordinal
            )
),

created AS (
    INSERT INTO orders (
        user_id, status, amount, request_id, traceparent, reference, metadata, created_at
    )
    SELECT
        user_id,
        'pending' AS status,
        amount,
        request_id,
        traceparent,
        reference,
        metadata,
        statement_timestamp() AS created_at
    FROM new
    ORDER BY place
    RETURNING id
),

drawn AS (
    SELECT
        id,
        row_number() OVER (ORDER BY id) AS place
    FROM created
),

numbered AS (
    SELECT
        drawn.id,
        new.payload,
        new.request_id,
        new.actor,
        new.traceparent,
        new.ordinal
    FROM drawn
    INNER JOIN new ON drawn.place = new.place
),

listed AS (
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT
        numbered.id,
        item.product_id,
        item.quantity,
        item.price
    FROM
        unnest($9::bigint[], $10::bigint[], $11::integer[], $12::bigint[])
        WITH ORDINALITY
            AS item (order_ordinal, product_id, quantity, price, ordinal)
    INNER JOIN numbered ON item.order_ordinal = numbered.ordinal
    ORDER BY item.ordinal
    RETURNING order_id, id
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'order.created' AS name,
        'order:' || id AS subject,
        payload || jsonb_build_object('order_id', id) AS payload,
        request_id,
        actor,
        traceparent,
        statement_timestamp() AS created_at
    FROM numbered
    ORDER BY ordinal
)

SELECT
    order_id,
    -- As in the rows: it is that of the statement.
    statement_timestamp() AS created_at,
    id
FROM listed
ORDER BY id
