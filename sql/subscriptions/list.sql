-- subscriptions/list: read a page of subscriptions, newest first
-- Params:  $1 before bigint      only those with lower ids
--          $2 page_size bigint
-- Locks:   none
-- Rows:    id bigint, url text, names text[], subject text?, description text?, status text,
--          reason text?, secret text, old_secret text?, old_secret_until timestamptz?,
--          starts_after bigint, recover_after bigint?, recover_until bigint?,
--          recover_since timestamptz?, delivered bigint, failed bigint,
--          failing_since timestamptz?, last_problem text?, created_at timestamptz,
--          created_by text; page_size at most
-- Index:   subscriptions_pkey
SELECT
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
    delivered,
    failed,
    failing_since,
    last_problem,
    created_at,
    created_by
FROM subscriptions
WHERE id < $1
ORDER BY id DESC
LIMIT $2
