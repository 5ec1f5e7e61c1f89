-- drill/list_service_orders: audit after a drill: every service order
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, starts_at timestamptz, imported boolean; one per order, by time
-- Index:   none, every row is read
SELECT
    id,
    starts_at,
    imported
FROM service_orders
ORDER BY starts_at, id
