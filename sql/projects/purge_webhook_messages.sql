-- projects/purge_webhook_messages: forget signed webhook messages that their senders no longer
--     repeat, some at a time
-- Params:  $1 keep interval      how long they are remembered
--          $2 page_size bigint
-- Locks:   the rows removed
-- Rows:    purged bigint; one
-- Index:   webhook_messages_received_at_idx
WITH old AS (
    SELECT
        deployment_id,
        webhook_id
    FROM webhook_messages
    WHERE received_at < now() - $1::interval
    ORDER BY received_at
    LIMIT $2
),

purged AS (
    DELETE FROM webhook_messages
    USING old
    WHERE
        webhook_messages.deployment_id = old.deployment_id
        AND webhook_messages.webhook_id = old.webhook_id
    RETURNING webhook_messages.webhook_id
)

SELECT count(*) AS purged
FROM purged
