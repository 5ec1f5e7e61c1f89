-- subscriptions/add_deliveries: note deliveries
-- Params:  $1 subscription_ids bigint[]   one per delivery
--          $2 event_ids bigint?[]         same length, as all that follow; null: a test
--          $3 names text[]
--          $4 statuses text[]
--          $5 attempts integer[]
--          $6 problems text?[]
--          $7 due_ats timestamptz?[]
-- Locks:   none new; the caller holds subscriptions/lock
-- Rows:    id bigint, created_at timestamptz; one per delivery, in this order
-- Index:   none, it only adds
INSERT INTO deliveries
(subscription_id, event_id, name, status, attempts, problem, due_at, finished_at)
SELECT
    given.subscription_id,
    given.event_id,
    given.name,
    given.status,
    given.attempts,
    given.problem,
    given.due_at,
    CASE WHEN given.status <> 'pending' THEN statement_timestamp() END AS finished_at
FROM
    unnest(
        $1::bigint[],
        $2::bigint[],
        $3::text[],
        $4::text[],
        $5::integer[],
        $6::text[],
        $7::timestamptz[]
    )
    WITH ORDINALITY
        AS given (subscription_id, event_id, name, status, attempts, problem, due_at, place)
ORDER BY given.place
RETURNING id, created_at
