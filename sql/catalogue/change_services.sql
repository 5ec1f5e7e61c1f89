-- catalogue/change_services: write services anew, as decided by catalogue.rules
-- Params:  $1 service_ids bigint[]        unique
--          $2 names text[]                same length
--          $3 retired_ats timestamptz?[]  same length; null: it can be booked
-- Locks:   none new; the caller holds catalogue/lock_services
-- Rows:    none
-- Index:   services_pkey
UPDATE services
SET
    name = new.name,
    retired_at = new.retired_at
FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS new (id, name, retired_at)
WHERE services.id = new.id
