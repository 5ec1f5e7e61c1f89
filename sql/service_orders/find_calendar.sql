-- service_orders/find_calendar: read when the orders near the times that a batch asks for are, and
--     the services that it names; draw ids for the orders that it may create
-- Params:  $1 times timestamptz[]
--          $2 reach interval         how near
--          $3 service_ids bigint[]   unique
--          $4 how_many bigint        ids to draw
-- Locks:   none new; the caller holds service_orders/lock_calendar, so the answer stays true
-- Rows:    order_ids bigint[], starts_ats timestamptz[], service_ids bigint[],
--          service_names text[], service_renames bigint[], services_are_retired boolean[],
--          new_ids bigint[]; one: the orders near any of the times, the services found, and the
--          ids drawn, ascending
-- Index:   service_orders_starts_at_idx, services_pkey
WITH wanted AS (
    SELECT tstzrange(at - $2::interval, at + $2::interval, '[]') AS span
    FROM unnest($1::timestamptz[]) AS wanted (at)
),

-- Spans that overlap become one, so that no order is read twice.
merged AS (
    SELECT unnest(range_agg(span)) AS span
    FROM wanted
),

neighbour AS (
    SELECT
        array_agg(service_orders.id) AS ids,
        array_agg(service_orders.starts_at) AS starts_ats
    FROM merged
    INNER JOIN service_orders
        ON service_orders.starts_at BETWEEN lower(merged.span) AND upper(merged.span)
),

service AS (
    SELECT
        array_agg(id) AS ids,
        array_agg(name) AS names,
        array_agg(renames) AS renames,
        array_agg(retired_at IS NOT NULL) AS are_retired
    FROM services
    WHERE id = any($3::bigint[])
)

SELECT
    coalesce(neighbour.ids, '{}') AS order_ids,
    coalesce(neighbour.starts_ats, '{}') AS starts_ats,
    coalesce(service.ids, '{}') AS service_ids,
    coalesce(service.names, '{}') AS service_names,
    coalesce(service.renames, '{}') AS service_renames,
    coalesce(service.are_retired, '{}') AS services_are_retired,
    array(
        SELECT nextval('service_orders_id_seq')
        FROM generate_series(1, $4::bigint)
    ) AS new_ids
FROM neighbour
CROSS JOIN service
