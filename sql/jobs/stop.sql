-- jobs/stop: end the job of a kind that is under way; what is done stays done
-- Params:  $1 kind text
-- Locks:   the job; waits for a page of it that is under way
-- Rows:    id bigint, kind text, wanted jsonb, actor text, request_id text?, total bigint,
--          done bigint, skipped bigint, place text, outcome text?, result jsonb?,
--          created_at timestamptz, moved_at timestamptz, finished_at timestamptz?; one at
--          most
-- Index:   jobs_under_way_key
UPDATE jobs
SET
    outcome = 'stopped',
    finished_at = statement_timestamp()
WHERE kind = $1 AND finished_at IS NULL
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
