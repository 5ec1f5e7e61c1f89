-- jobs/move: note how far a job is, if it is still under way
-- Params:  $1 job_id bigint
--          $2 done bigint      more are done
--          $3 skipped bigint   more could not be done
--          $4 total bigint     of all
--          $5 place text       where it goes on
--          $6 outcome text?    how it has ended; null: it goes on
--          $7 result jsonb?    null: as it is
-- Locks:   the job
-- Rows:    id bigint; one, or none if it has ended
-- Index:   jobs_pkey
UPDATE jobs
SET
    done = done + $2,
    skipped = skipped + $3,
    total = $4,
    place = $5,
    outcome = $6::text,
    result = coalesce($7::jsonb, result),
    moved_at = statement_timestamp(),
    finished_at = CASE WHEN $6::text IS NOT NULL THEN statement_timestamp() END
WHERE id = $1 AND outcome IS NULL
RETURNING id
