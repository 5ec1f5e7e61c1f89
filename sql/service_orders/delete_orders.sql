-- service_orders/delete_orders: delete service orders with what they include, as decided by
--     service_orders.rules
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   service_orders rows; the caller holds service_orders/lock_calendar
-- Rows:    none
-- Index:   service_orders_pkey
DELETE FROM service_orders
WHERE id = any($1::bigint[])
