-- projects/find_webhook_messages: tell which of these signed messages have been dealt with, and how
-- Params:  $1 deployment_ids bigint[]   one per message
--          $2 webhook_ids text[]        same length
-- Locks:   none new; the caller holds projects/lock_deployments, so the answer stays true
-- Rows:    deployment_id bigint, webhook_id text, reported text, status text;
--          one per message found
-- Index:   webhook_messages_pkey
SELECT
    message.deployment_id,
    message.webhook_id,
    message.reported,
    message.status
FROM unnest($1::bigint[], $2::text[]) AS wanted (deployment_id, webhook_id)
INNER JOIN webhook_messages AS message
    ON
        wanted.deployment_id = message.deployment_id
        AND wanted.webhook_id = message.webhook_id
