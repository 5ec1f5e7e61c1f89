-- jobs/find_newest: read the last job of a kind
-- Params:  $1 kind text
-- Locks:   none
-- Rows:    id bigint, kind text, wanted jsonb, actor text, request_id text?, total bigint,
--          done bigint, skipped bigint, place text, outcome text?, result jsonb?,
--          created_at timestamptz, moved_at timestamptz, finished_at timestamptz?; one, or
--          none if there never was one
-- Index:   jobs_kind_idx
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
WHERE kind = $1
ORDER BY id DESC
LIMIT 1
