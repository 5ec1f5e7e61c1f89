-- Purpose: write benefit orders, with their items, and hand those to their buyers
-- Params:  $1 user_ids bigint[]         one per order
--          $2 amounts bigint[]          minor units, same length
--          $3 request_ids text[]        same length; may hold nulls
--          $4 item_orders bigint[]      one per item: which of the orders above, from 1
--          $5 item_products bigint[]    same length as $4
--          $6 item_prices bigint[]      minor units, same length as $4
-- Locks:   products rows FOR KEY SHARE, by foreign keys; the caller holds
--          accounts/lock_users_by_name
-- Rows:    id bigint; one per order, in the order of the input: ids are drawn in that order
-- Index:   none, rows are only added
WITH placed AS (
    INSERT INTO orders (user_id, status, amount, request_id, settled_at)
    SELECT
        new.user_id,
        'approved' AS status,
        new.amount,
        new.request_id,
        now() AS settled_at
    FROM
        unnest($1::bigint[], $2::bigint[], $3::text[])
        WITH ORDINALITY
            AS new (user_id, amount, request_id, ordinal)
    ORDER BY new.ordinal
    RETURNING id, user_id
),

numbered AS (
    SELECT
        id,
        user_id,
        row_number() OVER (ORDER BY id) AS ordinal
    FROM placed
),

item AS (
    SELECT
        numbered.id AS order_id,
        numbered.user_id,
        new.product_id,
        new.price
    FROM unnest($4::bigint[], $5::bigint[], $6::bigint[]) AS new (ordinal, product_id, price)
    INNER JOIN numbered ON new.ordinal = numbered.ordinal
),

listed AS (
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT
        order_id,
        product_id,
        1 AS quantity,
        price
    FROM item
),

owned AS (
    INSERT INTO owned_products (user_id, product_id)
    SELECT
        user_id,
        product_id
    FROM item
)

SELECT id
FROM numbered
ORDER BY ordinal
