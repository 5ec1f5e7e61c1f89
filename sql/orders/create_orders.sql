-- orders/create_orders: write pending orders
-- Params:  $1 user_ids bigint?[]    one per order; null for an order without a user
--          $2 amounts bigint[]      minor units, same length
--          $3 request_ids text?[]   same length
-- Locks:   users rows FOR KEY SHARE, by the foreign key
-- Rows:    id bigint; one per order, in the order of the input: ids are drawn in that order
-- Index:   none, rows are only added
WITH created AS (
    INSERT INTO orders (user_id, status, amount, request_id, created_at)
    SELECT
        new.user_id,
        'pending' AS status,
        new.amount,
        new.request_id,
        statement_timestamp() AS created_at
    FROM
        unnest($1::bigint[], $2::bigint[], $3::text[])
        WITH ORDINALITY
            AS new (user_id, amount, request_id, ordinal)
    ORDER BY new.ordinal
    RETURNING id
)

SELECT id
FROM created
ORDER BY id
