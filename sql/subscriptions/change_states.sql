-- subscriptions/change_states: write what deliveries have changed about subscriptions
-- Params:  $1 ids bigint[]                      unique
--          $2 statuses text[]                   same length, as all that follow
--          $3 reasons text?[]
--          $4 recover_afters bigint?[]
--          $5 recover_untils bigint?[]
--          $6 recover_sinces timestamptz?[]
--          $7 delivereds bigint[]
--          $8 faileds bigint[]
--          $9 failing_sinces timestamptz?[]
--          $10 last_problems text?[]
-- Locks:   none new; the caller holds subscriptions/lock
-- Rows:    none
-- Index:   subscriptions_pkey
UPDATE subscriptions
SET
    status = given.status,
    reason = given.reason,
    recover_after = given.recover_after,
    recover_until = given.recover_until,
    recover_since = given.recover_since,
    delivered = given.delivered,
    failed = given.failed,
    failing_since = given.failing_since,
    last_problem = given.last_problem
FROM
    unnest(
        $1::bigint[],
        $2::text[],
        $3::text[],
        $4::bigint[],
        $5::bigint[],
        $6::timestamptz[],
        $7::bigint[],
        $8::bigint[],
        $9::timestamptz[],
        $10::text[]
    )
        AS given (
            id,
            status,
            reason,
            recover_after,
            recover_until,
            recover_since,
            delivered,
            failed,
            failing_since,
            last_problem
        )
WHERE subscriptions.id = given.id
