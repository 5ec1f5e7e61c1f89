-- service_orders/keep_ids: keep the ids of orders that were created and deleted by one batch
-- Params:  $1 order_ids bigint[]   unique
-- Locks:   none new; the caller holds service_orders/lock_calendar
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO gone_service_orders (ids)
SELECT int8range(id, id, '[]') AS ids
FROM unnest($1::bigint[]) AS deleted (id)
