-- service_orders/include_services: write which services orders include
-- Params:  $1 order_ids bigint[]     one per service of each order
--          $2 service_ids bigint[]   same length
-- Locks:   services rows FOR KEY SHARE, by the foreign key; the caller has written the
--          service_orders
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO service_order_services (order_id, service_id)
SELECT
    new.order_id,
    new.service_id
FROM unnest($1::bigint[], $2::bigint[]) AS new (order_id, service_id)
