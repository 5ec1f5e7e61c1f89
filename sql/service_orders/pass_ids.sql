-- service_orders/pass_ids: let new orders get ids beyond one that a client has chosen
-- Params:  $1 last_id bigint
-- Locks:   none new; the caller holds service_orders/lock_calendar, under which ids are drawn
-- Rows:    last_id bigint; one, none if new ids are beyond it already
-- Index:   none, only the sequence is read
SELECT setval('service_orders_id_seq', $1) AS last_id
FROM service_orders_id_seq
WHERE (last_value, is_called) < ($1, true)
