-- service_orders/replace_orders: write service orders anew, as decided by service_orders.rules
-- Params:  $1 order_ids bigint[]         unique
--          $2 starts_ats timestamptz[]   same length
--          $3 fees bigint[]              minor units, same length
--          $4 imported boolean[]         same length
--          $5 versions bigint[]          same length
-- Locks:   service_orders rows; the caller holds service_orders/lock_calendar
-- Rows:    none
-- Index:   service_orders_pkey
UPDATE service_orders
SET
    starts_at = new.starts_at,
    fee = new.fee,
    imported = new.imported,
    version = new.version
FROM
    unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::boolean[], $5::bigint[])
        AS new (id, starts_at, fee, imported, version)
WHERE service_orders.id = new.id
