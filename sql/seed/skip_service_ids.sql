-- seed/skip_service_ids: move the sequences of services and their orders past ids that did not come
--     from them
-- Params:  none
-- Locks:   none new; the caller holds service_orders/lock_calendar, under which ids are drawn
-- Rows:    last_service_id bigint, last_order_id bigint; one
-- Index:   services_pkey, service_orders_pkey
SELECT
    setval(
        'services_id_seq',
        greatest((SELECT max(id) FROM services), (SELECT last_value FROM services_id_seq))
    ) AS last_service_id,
    setval(
        'service_orders_id_seq',
        greatest(
            (SELECT max(id) FROM service_orders), (SELECT last_value FROM service_orders_id_seq)
        )
    ) AS last_order_id
