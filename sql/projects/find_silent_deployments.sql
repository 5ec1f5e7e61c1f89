-- projects/find_silent_deployments: find ongoing deployments that nothing has reported on for too
--     long
-- Params:  $1 silence interval
--          $2 page_size bigint
-- Locks:   none; whether they are to end is decided once they are locked
-- Rows:    id bigint, status text; page_size at most, those first that were silent for longest
-- Index:   deployments_silent_idx
SELECT
    id,
    status
FROM deployments
WHERE
    status IN ('pending', 'building', 'deploying')
    AND coalesce(moved_at, created_at) < now() - $1::interval
ORDER BY coalesce(moved_at, created_at)
LIMIT $2
