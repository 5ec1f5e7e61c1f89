-- service_orders/include_services: write anew which services orders include
-- Params:  $1 order_ids bigint[]     one per service of each order
--          $2 service_ids bigint[]   same length
-- Locks:   services rows FOR KEY SHARE, by the foreign key; the caller holds the
--          service_orders, and has called service_orders/exclude_services
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO service_order_services (order_id, service_id)
SELECT
    new.order_id,
    new.service_id
FROM unnest($1::bigint[], $2::bigint[]) AS new (order_id, service_id)
