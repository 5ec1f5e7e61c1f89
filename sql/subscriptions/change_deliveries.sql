-- subscriptions/change_deliveries: note what became of deliveries
-- Params:  $1 ids bigint[]             unique
--          $2 statuses text[]          same length, as all that follow
--          $3 attempts integer[]
--          $4 problems text?[]
--          $5 due_ats timestamptz?[]
-- Locks:   the deliveries; the caller holds subscriptions/lock of theirs
-- Rows:    none
-- Index:   deliveries_pkey
UPDATE deliveries
SET
    status = given.status,
    attempts = given.attempts,
    problem = given.problem,
    due_at = given.due_at,
    finished_at = CASE WHEN given.status <> 'pending' THEN statement_timestamp() END
FROM
    unnest($1::bigint[], $2::text[], $3::integer[], $4::text[], $5::timestamptz[])
        AS given (id, status, attempts, problem, due_at)
WHERE deliveries.id = given.id
