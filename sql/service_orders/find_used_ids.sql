-- service_orders/find_used_ids: tell which of these ids are, or were, those of orders
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none new; the caller holds service_orders/lock_calendar, so the answer stays true
-- Rows:    id bigint; one per id that was used
-- Index:   service_orders_pkey, gone_service_orders_ids_idx

-- Scalar subqueries and not EXISTS, which the planner may turn into a hash of all rows.
SELECT wanted.id
FROM unnest($1::bigint[]) AS wanted (id)
WHERE
    coalesce(
        (
            SELECT true
            FROM service_orders
            WHERE service_orders.id = wanted.id
        ),
        (
            SELECT bool_or(true)
            FROM gone_service_orders AS gone
            WHERE gone.ids @> wanted.id
        ),
        false
    )
