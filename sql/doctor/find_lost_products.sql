-- doctor/find_lost_products: audit benefit orders: what they have bought is owned by their users,
--     unless they were refunded
-- Params:  $1 after bigint       only orders with a higher id
--          $2 upto bigint        only orders up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    order_id bigint, user_id bigint, product_id bigint; one per product that is not owned
-- Index:   orders_approved_idx, ledger_entries_document_key, order_items_pkey, owned_products_pkey,
--          refunds_order_id_idx
WITH entry AS (
    SELECT
        document_id,
        user_id
    FROM ledger_entries
    WHERE
        document_kind = 'order'
        AND document_id > $1
        AND document_id <= $2
        AND reason = 'benefit_order'
),

item AS (
    SELECT
        order_id,
        product_id
    FROM order_items
    WHERE order_id > $1 AND order_id <= $2
),

bought AS (
    SELECT
        orders.id AS order_id,
        orders.user_id,
        item.product_id
    FROM orders
    INNER JOIN item ON orders.id = item.order_id
    LEFT JOIN entry ON orders.id = entry.document_id AND orders.user_id = entry.user_id
    WHERE
        orders.id > $1
        AND orders.id <= $2
        AND orders.status = 'approved'
        -- One that cost nothing has no entry: as orders/lock_orders knows it.
        AND (
            entry.document_id IS NOT NULL
            OR (orders.amount = 0 AND orders.settled_at = orders.created_at)
        )
)

SELECT
    bought.order_id,
    bought.user_id,
    bought.product_id
FROM bought
LEFT JOIN owned_products AS owned
    ON bought.user_id = owned.user_id AND bought.product_id = owned.product_id
LEFT JOIN refunds ON bought.order_id = refunds.order_id
WHERE owned.user_id IS NULL AND refunds.id IS NULL
ORDER BY bought.order_id, bought.product_id
LIMIT $3
