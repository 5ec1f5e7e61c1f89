-- subscriptions/count_pending: count the deliveries that wait, by subscription
-- Params:  $1 subscription_ids bigint[]   unique
-- Locks:   none
-- Rows:    subscription_id bigint, pending bigint; one per subscription
-- Index:   deliveries_due_idx
SELECT
    given.subscription_id,
    (
        SELECT count(*)
        FROM deliveries
        WHERE
            deliveries.subscription_id = given.subscription_id
            AND deliveries.status = 'pending'
    ) AS pending
FROM unnest($1::bigint[]) AS given (subscription_id)
