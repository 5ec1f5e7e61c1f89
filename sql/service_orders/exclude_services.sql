-- service_orders/exclude_services: forget which services orders include, before it is written anew
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   service_order_services rows; the caller holds service_orders/lock_calendar
-- Rows:    none
-- Index:   service_order_services_pkey
DELETE FROM service_order_services
WHERE order_id = any($1::bigint[])
