-- subscriptions/change: write what clients have changed about subscriptions
-- Params:  $1 ids bigint[]                       unique
--          $2 urls text[]                        same length, as all that follow
--          $3 names text[]                       those of a subscription with newlines between
--          $4 subjects text?[]
--          $5 descriptions text?[]
--          $6 statuses text[]
--          $7 reasons text?[]
--          $8 secrets text[]
--          $9 old_secrets text?[]
--          $10 old_secret_untils timestamptz?[]
--          $11 starts_afters bigint[]
--          $12 recover_afters bigint?[]
--          $13 recover_untils bigint?[]
--          $14 recover_sinces timestamptz?[]
--          $15 failing_sinces timestamptz?[]
--          $16 last_problems text?[]
-- Locks:   none new; the caller holds subscriptions/lock
-- Rows:    none
-- Index:   subscriptions_pkey
UPDATE subscriptions
SET
    url = given.url,
    names = string_to_array(given.names, E'\n'),
    subject = given.subject,
    description = given.description,
    status = given.status,
    reason = given.reason,
    secret = given.secret,
    old_secret = given.old_secret,
    old_secret_until = given.old_secret_until,
    starts_after = given.starts_after,
    recover_after = given.recover_after,
    recover_until = given.recover_until,
    recover_since = given.recover_since,
    failing_since = given.failing_since,
    last_problem = given.last_problem
FROM
    unnest(
        $1::bigint[],
        $2::text[],
        $3::text[],
        $4::text[],
        $5::text[],
        $6::text[],
        $7::text[],
        $8::text[],
        $9::text[],
        $10::timestamptz[],
        $11::bigint[],
        $12::bigint[],
        $13::bigint[],
        $14::timestamptz[],
        $15::timestamptz[],
        $16::text[]
    )
        AS given (
            id,
            url,
            names,
            subject,
            description,
            status,
            reason,
            secret,
            old_secret,
            old_secret_until,
            starts_after,
            recover_after,
            recover_until,
            recover_since,
            failing_since,
            last_problem
        )
WHERE subscriptions.id = given.id
