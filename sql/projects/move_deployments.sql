-- projects/move_deployments: write the states of deployments as decided by projects.rules
-- Params:  $1 deployment_ids bigint[]    unique
--          $2 statuses text[]            same length
--          $3 deployed_ins bigint?[]     same length; seconds, null unless done
--          $4 ended_ats timestamptz?[]   same length; null while ongoing
--          $5 first_lives boolean[]      same length; true for one that brings its project live
--          $6 reasons text?[]            same length; null unless the service ended it
-- Locks:   none new; the caller holds projects/lock_deployments
-- Rows:    none
-- Index:   deployments_pkey
UPDATE deployments
SET
    status = moved.status,
    deployed_in = moved.deployed_in,
    ended_at = moved.ended_at,
    first_live = moved.first_live,
    reason = moved.reason,
    -- Once the deployments are locked, as their other times.
    moved_at = statement_timestamp()
FROM
    unnest(
        $1::bigint[], $2::text[], $3::bigint[], $4::timestamptz[], $5::boolean[], $6::text[]
    ) AS moved (id, status, deployed_in, ended_at, first_live, reason)
WHERE deployments.id = moved.id
