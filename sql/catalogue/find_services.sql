-- catalogue/find_services: read services by id, retired ones included
-- Params:  $1 service_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, name text, created_at timestamptz?, retired_at timestamptz?; one per service
--          found
-- Index:   services_pkey
SELECT
    id,
    name,
    created_at,
    retired_at
FROM services
WHERE id = any($1::bigint[])
