-- service_orders/find_calendar: read when the orders near the times that a batch asks for are, and
--     the services that it names
-- Params:  $1 times timestamptz[]
--          $2 reach interval         how near
--          $3 service_ids bigint[]   unique
-- Locks:   none new; the caller holds service_orders/lock_calendar, so the answer stays true
-- Rows:    order_ids bigint[], starts_ats timestamptz[], service_ids bigint[],
--          service_names text[]; one: the orders near any of the times, in the order of theirs, and
--          the services found
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
        service_orders.id,
        service_orders.starts_at
    FROM merged
    INNER JOIN service_orders
        ON service_orders.starts_at BETWEEN lower(merged.span) AND upper(merged.span)
),

service AS (
    SELECT
        id,
        name
    FROM services
    WHERE id = any($3::bigint[])
)

SELECT
    array(
        SELECT id
        FROM neighbour
        ORDER BY starts_at, id
    ) AS order_ids,
    array(
        SELECT starts_at
        FROM neighbour
        ORDER BY starts_at, id
    ) AS starts_ats,
    array(
        SELECT id
        FROM service
        ORDER BY id
    ) AS service_ids,
    array(
        SELECT name
        FROM service
        ORDER BY id
    ) AS service_names
