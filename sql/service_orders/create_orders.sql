-- service_orders/create_orders: write new service orders and the services that they include, as
--     decided by service_orders.rules
-- Params:  $1 order_ids bigint[]         drawn by service_orders/draw_ids, or imported
--          $2 starts_ats timestamptz[]   same length
--          $3 fees bigint[]              minor units, same length
--          $4 imported boolean[]         same length
--          $5 versions bigint[]          same length
--          $6 including bigint[]         one per service of each order: the id of the order
--          $7 service_ids bigint[]       same length as $6
-- Locks:   services rows FOR KEY SHARE, by the foreign key; the caller holds
--          service_orders/lock_calendar
-- Rows:    none
-- Index:   none, rows are only added
WITH created AS (
    INSERT INTO service_orders (id, starts_at, fee, imported, version)
    SELECT
        new.id,
        new.starts_at,
        new.fee,
        new.imported,
        new.version
    FROM
        unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::boolean[], $5::bigint[])
            AS new (id, starts_at, fee, imported, version)
)

INSERT INTO service_order_services (order_id, service_id)
SELECT
    new.order_id,
    new.service_id
FROM unnest($6::bigint[], $7::bigint[]) AS new (order_id, service_id)
