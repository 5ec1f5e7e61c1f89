-- service_orders/find_neighbours: read when the orders near the times that a batch asks for are
-- Params:  $1 times timestamptz[]
--          $2 reach interval        how near
-- Locks:   none new; the caller holds service_orders/lock_calendar, so the answer stays true
-- Rows:    starts_at timestamptz, id bigint; one per order near any of the times
-- Index:   service_orders_starts_at_idx
WITH wanted AS (
    SELECT tstzrange(at - $2::interval, at + $2::interval, '[]') AS span
    FROM unnest($1::timestamptz[]) AS wanted (at)
),

-- Spans that overlap become one, so that no order is read twice.
merged AS (
    SELECT unnest(range_agg(span)) AS span
    FROM wanted
)

SELECT
    service_orders.starts_at,
    service_orders.id
FROM merged
INNER JOIN service_orders
    ON service_orders.starts_at BETWEEN lower(merged.span) AND upper(merged.span)
