-- service_orders/list_services: read the services that can be booked
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, name text; one per service not retired
-- Index:   services_is_live_idx
SELECT
    id,
    name
FROM services
WHERE (retired_at IS NULL)::int = 1
ORDER BY id
