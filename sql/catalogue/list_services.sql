-- catalogue/list_services: read a page of services, newest first
-- Params:  $1 are_live integer[]   unique: 1 for those that can be had, 0 for retired ones
--          $2 before bigint        only services with a lower id
--          $3 page_size bigint
-- Locks:   none
-- Rows:    id bigint, name text, created_at timestamptz?, retired_at timestamptz?; page_size at
--          most
-- Index:   services_is_live_idx, services_pkey
WITH newest AS (
    -- A page of each kind, whose entries are next to each other in the index.
    SELECT
        unnest(
            array(
                SELECT services.id
                FROM services
                WHERE (services.retired_at IS NULL)::int = wanted.is_live AND services.id < $2
                ORDER BY services.id DESC
                LIMIT $3
            )
        ) AS id
    FROM unnest($1::integer[]) AS wanted (is_live)
    ORDER BY id DESC
    LIMIT $3
)

SELECT
    services.id,
    services.name,
    services.created_at,
    services.retired_at
FROM services
INNER JOIN newest ON services.id = newest.id
ORDER BY services.id DESC
