-- orders/create_orders: write pending orders with their items, and append the events
-- Params:  $1 user_ids bigint?[]         one per order; null for an order without a user
--          $2 amounts bigint[]           minor units, same length
--          $3 payloads jsonb[]           same length; of the events, to which order_id is added
--          $4 request_ids text?[]        same length
--          $5 actors text[]              same length
--          $6 item_orders bigint[]       one per item: which of the orders above, from 1
--          $7 item_products bigint[]     same length as $6
--          $8 item_quantities integer[]  same length as $6
--          $9 item_prices bigint[]       minor units for one, same length as $6
-- Locks:   users rows and products rows FOR KEY SHARE, by foreign keys
-- Rows:    order_id bigint, id bigint; one per item, in the order of the input: ids of orders and
--          of items are drawn in that order
-- Index:   none, rows are only added
WITH new AS (
    SELECT *
    FROM
        unnest($1::bigint[], $2::bigint[], $3::jsonb[], $4::text[], $5::text[])
        WITH ORDINALITY
            AS input (user_id, amount, payload, request_id, actor, ordinal)
),

created AS (
    INSERT INTO orders (user_id, status, amount, request_id, created_at)
    SELECT
        user_id,
        'pending' AS status,
        amount,
        request_id,
        statement_timestamp() AS created_at
    FROM new
    ORDER BY ordinal
    RETURNING id
),

numbered AS (
    SELECT
        id,
        row_number() OVER (ORDER BY id) AS ordinal
    FROM created
),

listed AS (
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT
        numbered.id,
        item.product_id,
        item.quantity,
        item.price
    FROM
        unnest($6::bigint[], $7::bigint[], $8::integer[], $9::bigint[])
        WITH ORDINALITY
            AS item (order_ordinal, product_id, quantity, price, ordinal)
    INNER JOIN numbered ON item.order_ordinal = numbered.ordinal
    ORDER BY item.ordinal
    RETURNING order_id, id
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, created_at)
    SELECT
        'order.created' AS name,
        'order:' || numbered.id AS subject,
        new.payload || jsonb_build_object('order_id', numbered.id) AS payload,
        new.request_id,
        new.actor,
        statement_timestamp() AS created_at
    FROM numbered
    INNER JOIN new ON numbered.ordinal = new.ordinal
    ORDER BY numbered.ordinal
)

SELECT
    order_id,
    id
FROM listed
ORDER BY id
