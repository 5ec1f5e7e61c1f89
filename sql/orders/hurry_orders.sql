-- orders/hurry_orders: let postponed orders be settled at once, and append the events
-- Params:  $1 order_ids bigint[]    unique, in the order of the retries
--          $2 payloads jsonb[]      same length; of the events
--          $3 request_ids text?[]   same length
--          $4 actors text[]         same length
--          $5 traceparents text?[]  same length
-- Locks:   none new; the caller holds orders/lock_orders
-- Rows:    none
-- Index:   orders_pkey
WITH hurried AS (
    UPDATE orders
    SET next_attempt_at = NULL
    WHERE
        -- Not a join: planned while there are few orders, it would go on to read all.
        id = any($1::bigint[])
        -- Of one that is due already, there is nothing to tell.
        AND next_attempt_at > statement_timestamp()
    RETURNING id
)

INSERT INTO outbox (name, subject, payload, request_id, actor, traceparent, created_at)
SELECT
    'order.retried' AS name,
    'order:' || hurried.id AS subject,
    input.payload,
    input.request_id,
    input.actor,
    input.traceparent,
    statement_timestamp() AS created_at
FROM
    unnest($1::bigint[], $2::jsonb[], $3::text[], $4::text[], $5::text[])
    WITH ORDINALITY
        AS input (order_id, payload, request_id, actor, traceparent, ordinal)
INNER JOIN hurried ON input.order_id = hurried.id
ORDER BY input.ordinal
