-- service_orders/create_orders: write new service orders and the services that they include, as
--     decided by service_orders.rules, and append the events of the batch
-- Params:  $1 order_ids bigint[]         drawn under the calendar's lock, or imported
--          $2 starts_ats timestamptz[]   same length
--          $3 fees bigint[]              minor units, same length
--          $4 imported boolean[]         same length
--          $5 versions bigint[]          same length
--          $6 including bigint[]         one per service of each order: the id of the order
--          $7 service_ids bigint[]       same length as $6
--          $8 names text[]               one per event, in the order in which they happened
--          $9 subjects text[]            same length as $8, as kind:id
--          $10 payloads jsonb[]          same length as $8
--          $11 request_ids text?[]       same length as $8
--          $12 actors text[]             same length as $8
--          $13 traceparents text?[]      same length as $8
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
),

included AS (
    INSERT INTO service_order_services (order_id, service_id)
    SELECT
        new.order_id,
        new.service_id
    FROM unnest($6::bigint[], $7::bigint[]) AS new (order_id, service_id)
)

INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
SELECT
    event.name,
    event.subject,
    event.payload,
    event.request_id,
    event.actor,
    event.traceparent,
    -- The transaction's now() may be older than what it has waited for.
    statement_timestamp() AS created_at
FROM
    unnest($8::text[], $9::text[], $10::jsonb[], $11::text[], $12::text[], $13::text[])
    WITH ORDINALITY
        AS event (name, subject, payload, request_id, actor, traceparent, ordinal)
ORDER BY event.ordinal
