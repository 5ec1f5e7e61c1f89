-- service_orders/list_services: read all services
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, name text; one per service
-- Index:   services_pkey
SELECT
    id,
    name
FROM services
ORDER BY id
