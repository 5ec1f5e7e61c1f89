-- orders/create_items: write the items of new orders
-- Params:  $1 order_ids bigint[]     one per item
--          $2 product_ids bigint[]   same length
--          $3 quantities integer[]   same length
--          $4 prices bigint[]        minor units for one, same length
-- Locks:   products rows FOR KEY SHARE, by the foreign key; the caller has made the orders, by
--          orders/create_orders
-- Rows:    id bigint; one per item, in the order of the input: ids are drawn in that order
-- Index:   none, rows are only added
WITH created AS (
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT
        new.order_id,
        new.product_id,
        new.quantity,
        new.price
    FROM
        unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[])
        WITH ORDINALITY
            AS new (order_id, product_id, quantity, price, ordinal)
    ORDER BY new.ordinal
    RETURNING id
)

SELECT id
FROM created
ORDER BY id
