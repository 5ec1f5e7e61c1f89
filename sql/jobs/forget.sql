-- jobs/forget: remove old jobs of a kind, but for the last ones
-- Params:  $1 kind text
--          $2 keep bigint   how many
-- Locks:   the rows removed
-- Rows:    none
-- Index:   jobs_kind_idx, jobs_pkey
DELETE FROM jobs
WHERE
    id = any(
        array(
            SELECT old.id
            FROM jobs AS old
            WHERE old.kind = $1 AND old.finished_at IS NOT NULL
            ORDER BY old.id DESC
            OFFSET $2
        )
    )
