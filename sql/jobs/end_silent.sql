-- jobs/end_silent: end a job that has not got on for long, as its process is gone
-- Params:  $1 kind text
--          $2 silence interval
-- Locks:   the job
-- Rows:    id bigint; one at most
-- Index:   jobs_under_way_key
UPDATE jobs
SET
    outcome = 'failed',
    finished_at = statement_timestamp()
WHERE kind = $1 AND finished_at IS NULL AND moved_at < statement_timestamp() - $2::interval
RETURNING id
