-- seed/add_services: add services with their ids, leaving those that are there as they are
-- Params:  $1 service_ids bigint[]   unique
--          $2 names text[]           same length
-- Locks:   none
-- Rows:    id bigint; one per service added
-- Index:   none, rows are only added
INSERT INTO services (id, name)
SELECT
    new.id,
    new.name
FROM unnest($1::bigint[], $2::text[]) AS new (id, name)
ON CONFLICT (id) DO NOTHING
RETURNING id
