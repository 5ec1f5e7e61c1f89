-- service_orders/list_orders: read a page of service orders, by time
-- Params:  $1 after timestamptz    only orders after this time, or
--          $2 after_id bigint      at this time with a higher id
--          $3 before timestamptz   only orders before this time
--          $4 page_size bigint
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
ORDER BY service_orders.starts_at, service_orders.id
LIMIT $4
