-- jobs/start: ask for a job, unless one of its kind is under way
-- Params:  $1 kind text
--          $2 wanted jsonb
--          $3 actor text
--          $4 request_id text?
--          $5 total bigint
-- Locks:   none, it only adds; waits for another transaction that asks for one of the kind
-- Rows:    id bigint, kind text, wanted jsonb, actor text, request_id text?, total bigint,
--          done bigint, skipped bigint, place text, outcome text?, result jsonb?,
--          created_at timestamptz, moved_at timestamptz, finished_at timestamptz?; one, or
--          none if one is under way
-- Index:   none, it only adds
INSERT INTO jobs (kind, wanted, actor, request_id, total)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (kind) WHERE finished_at IS NULL DO NOTHING
RETURNING
    id,
    kind,
    wanted,
    actor,
    request_id,
    total,
    done,
    skipped,
    place,
    outcome,
    result,
    created_at,
    moved_at,
    finished_at
