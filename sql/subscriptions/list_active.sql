-- subscriptions/list_active: read all that the dispatcher has to know
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, url text, names text[], subject text?, secret text, old_secret text?,
--          old_secret_until timestamptz?, starts_after bigint, recover_after bigint?,
--          recover_until bigint?, recover_since timestamptz?; one per active subscription, 1,000
--          at most
-- Index:   subscriptions_pkey
SELECT
    id,
    url,
    names,
    subject,
    secret,
    old_secret,
    old_secret_until,
    starts_after,
    recover_after,
    recover_until,
    recover_since
FROM subscriptions
WHERE status = 'active'
ORDER BY id
