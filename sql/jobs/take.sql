-- jobs/take: lock a job that is under way, to do the next page of it
-- Params:  $1 kinds text[]   unique
-- Locks:   the job; one that another transaction works on is left out
-- Rows:    id bigint, kind text, wanted jsonb, actor text, request_id text?, total bigint,
--          done bigint, skipped bigint, place text, outcome text?, result jsonb?,
--          created_at timestamptz, moved_at timestamptz, finished_at timestamptz?; one at
--          most, that which has waited longest
-- Index:   jobs_under_way_key
SELECT
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
FROM jobs
WHERE kind = any($1::text[]) AND finished_at IS NULL
ORDER BY moved_at
LIMIT 1
FOR UPDATE SKIP LOCKED
