-- service_orders/find_services: read the services that a batch names
-- Params:  $1 service_ids bigint[]   unique
-- Locks:   none; services are never deleted
-- Rows:    id bigint, name text; one per service found
-- Index:   services_pkey
SELECT
    id,
    name
FROM services
WHERE id = any($1::bigint[])
