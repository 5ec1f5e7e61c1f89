-- doctor/find_unbought_products: audit what users own: a benefit order of theirs has bought it.
--     doctor/find_kept_products tells if that was refunded
-- Params:  $1 after bigint       only owners with a higher id
--          $2 upto bigint        only owners up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    user_id bigint, product_id bigint; one per product that no order has bought
-- Index:   owned_products_pkey, orders_user_id_status_created_at_idx, order_items_pkey,
--          ledger_entries_document_key
SELECT
    owned.user_id,
    owned.product_id
FROM owned_products AS owned
WHERE
    owned.user_id > $1
    AND owned.user_id <= $2
    AND NOT EXISTS (
        SELECT 1
        FROM orders
        INNER JOIN order_items AS item ON orders.id = item.order_id
        LEFT JOIN ledger_entries AS entry
            ON
                orders.id = entry.document_id
                AND orders.user_id = entry.user_id
                AND entry.document_kind = 'order'
        WHERE
            orders.user_id = owned.user_id
            AND orders.status = 'approved'
            AND item.product_id = owned.product_id
            -- Earlier releases settled one that cost nothing a moment after it was created.
            AND (entry.reason = 'benefit_order' OR orders.amount = 0)
    )
ORDER BY owned.user_id, owned.product_id
LIMIT $3
