-- service_orders/list_orders_of_service: read a page of the orders that include one service, by
--     time
-- Params:  $1 after timestamptz    only orders after this time, or
--          $2 after_id bigint      at this time with a higher id
--          $3 before timestamptz   only orders before this time
--          $4 page_size bigint
--          $5 service_id bigint
-- Locks:   none
-- Rows:    id bigint, starts_at timestamptz, fee bigint, imported boolean, version bigint,
--          service_ids bigint[], service_names text[], service_renames bigint[]; page_size at most
-- Index:   service_orders_starts_at_idx, service_order_services_pkey
SELECT
    service_orders.id,
    service_orders.starts_at,
    service_orders.fee,
    service_orders.imported,
    service_orders.version,
    coalesce(included.service_ids, '{}') AS service_ids,
    coalesce(included.service_names, '{}') AS service_names,
    coalesce(included.service_renames, '{}') AS service_renames
FROM service_orders
CROSS JOIN
    LATERAL (
        SELECT
            array_agg(link.service_id ORDER BY link.service_id) AS service_ids,
            array_agg(services.name ORDER BY link.service_id) AS service_names,
            array_agg(services.renames ORDER BY link.service_id) AS service_renames
        FROM service_order_services AS link
        INNER JOIN services ON link.service_id = services.id
        WHERE link.order_id = service_orders.id
    ) AS included
WHERE
    (service_orders.starts_at, service_orders.id) > ($1, $2)
    AND service_orders.starts_at < $3
    -- Not EXISTS, which may become a join that reads everything before it sorts: this is a walk
    -- by time that ends with the page.
    AND $5 = any(
        array(
            SELECT link.service_id
            FROM service_order_services AS link
            WHERE link.order_id = service_orders.id
        )
    )
ORDER BY service_orders.starts_at, service_orders.id
LIMIT $4
