-- catalogue/lock_services: lock the services that a batch will change, and read them
-- Params:  $1 service_ids bigint[]   unique
-- Locks:   services rows FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, name text, created_at timestamptz?, retired_at timestamptz?,
--          locked_at timestamptz; one per service found. The last one is when its lock was had
-- Index:   services_pkey
WITH locked AS MATERIALIZED (
    SELECT
        id,
        name,
        created_at,
        retired_at
    FROM services
    WHERE id = any($1::bigint[])
    ORDER BY id
    FOR NO KEY UPDATE
)

SELECT
    locked.*,
    -- Not the time of the statement, which may have waited: changes of a row are in order of time.
    clock_timestamp() AS locked_at
FROM locked
