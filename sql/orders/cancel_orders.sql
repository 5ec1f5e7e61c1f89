-- orders/cancel_orders: mark pending orders as cancelled, as decided by orders.rules, and append
--     the events
-- Params:  $1 order_ids bigint[]    unique, in the order of the cancellations
--          $2 payloads jsonb[]      same length; of the events
--          $3 request_ids text?[]   same length
--          $4 actors text[]         same length
--          $5 traceparents text?[]  same length
-- Locks:   none new; the caller holds orders/lock_orders
-- Rows:    id bigint, settled_at timestamptz; one per input: now
-- Index:   orders_pkey
WITH cancelled AS (
    UPDATE orders
    SET
        status = 'cancelled',
        -- The transaction's now() may be older than what it has waited for.
        settled_at = greatest(statement_timestamp(), created_at)
    -- Not a join: planned while there are few orders, it would go on to read all.
    WHERE id = any($1::bigint[])
    RETURNING id, settled_at
),

told AS (
    INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
    SELECT
        'order.cancelled' AS name,
        'order:' || cancelled.id AS subject,
        input.payload,
        input.request_id,
        input.actor,
        input.traceparent,
        cancelled.settled_at
    FROM
        unnest($1::bigint[], $2::jsonb[], $3::text[], $4::text[], $5::text[])
        WITH ORDINALITY
            AS input (order_id, payload, request_id, actor, traceparent, ordinal)
    INNER JOIN cancelled ON input.order_id = cancelled.id
    ORDER BY input.ordinal
)

SELECT
    id,
    settled_at
FROM cancelled
