-- doctor/find_kept_products: audit refunded benefit orders: what they had bought is not owned any
--     more, unless another benefit order has bought it that was not refunded
-- Params:  $1 after bigint       only refunds with a higher id
--          $2 upto bigint        only refunds up to this id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    order_id bigint, user_id bigint, product_id bigint; one per product that is still owned
-- Index:   refunds_pkey, ledger_entries_document_key, order_items_pkey, owned_products_pkey,
--          orders_user_id_status_created_at_idx, refunds_order_id_idx
WITH given_back AS (
    SELECT
        refunds.order_id,
        refunds.user_id,
        item.product_id
    FROM refunds
    INNER JOIN order_items AS item ON refunds.order_id = item.order_id
    INNER JOIN owned_products AS owned
        ON refunds.user_id = owned.user_id AND item.product_id = owned.product_id
    LEFT JOIN ledger_entries AS entry
        ON
            refunds.order_id = entry.document_id
            AND refunds.user_id = entry.user_id
            AND entry.document_kind = 'order'
    WHERE
        refunds.id > $1
        AND refunds.id <= $2
        -- Of nothing, only benefit orders are refunded.
        AND (refunds.amount = 0 OR entry.reason = 'benefit_order')
)

SELECT DISTINCT
    given_back.order_id,
    given_back.user_id,
    given_back.product_id
FROM given_back
WHERE
    NOT EXISTS (
        SELECT 1
        FROM orders AS other
        INNER JOIN order_items AS item ON other.id = item.order_id
        LEFT JOIN ledger_entries AS entry
            ON
                other.id = entry.document_id
                AND other.user_id = entry.user_id
                AND entry.document_kind = 'order'
        WHERE
            other.user_id = given_back.user_id
            AND other.status = 'approved'
            AND item.product_id = given_back.product_id
            AND (entry.reason = 'benefit_order' OR other.amount = 0)
            AND NOT EXISTS (
                SELECT 1
                FROM refunds AS refund
                WHERE refund.order_id = other.id
            )
    )
ORDER BY given_back.order_id, given_back.product_id
LIMIT $3
