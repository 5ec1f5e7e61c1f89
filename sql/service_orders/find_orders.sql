-- service_orders/find_orders: read service orders by id
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none; for a decision the caller holds service_orders/lock_calendar
-- Rows:    id bigint, starts_at timestamptz, fee bigint, imported boolean, version bigint,
--          service_ids bigint[], service_names text[]; one per order found
-- Index:   service_orders_pkey, service_order_services_pkey
SELECT
    service_orders.id,
    service_orders.starts_at,
    service_orders.fee,
    service_orders.imported,
    service_orders.version,
    array(
        SELECT link.service_id
        FROM service_order_services AS link
        WHERE link.order_id = service_orders.id
        ORDER BY link.service_id
    ) AS service_ids,
    array(
        SELECT services.name
        FROM service_order_services AS link
        INNER JOIN services ON link.service_id = services.id
        WHERE link.order_id = service_orders.id
        ORDER BY link.service_id
    ) AS service_names
FROM service_orders
WHERE service_orders.id = any($1::bigint[])
