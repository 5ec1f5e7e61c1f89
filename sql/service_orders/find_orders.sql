-- service_orders/find_orders: read service orders by id
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none; for a decision the caller holds service_orders/lock_calendar
-- Rows:    id bigint, starts_at timestamptz, fee bigint, imported boolean, version bigint,
--          service_ids bigint[], service_names text[], service_renames bigint[]; one per order
--          found
-- Index:   service_orders_pkey, service_order_services_pkey
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
WHERE service_orders.id = any($1::bigint[])
