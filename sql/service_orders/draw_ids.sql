-- service_orders/draw_ids: draw ids for the orders that a batch may create, in the order of its
--     commands
-- Params:  $1 how_many bigint
-- Locks:   none
-- Rows:    id bigint; how_many, ascending
-- Index:   none, no table is read
SELECT nextval('service_orders_id_seq') AS id
FROM generate_series(1, $1::bigint)
