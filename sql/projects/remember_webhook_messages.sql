-- projects/remember_webhook_messages: remember signed messages and what came of them
-- Params:  $1 deployment_ids bigint[]   one per message, each message once
--          $2 webhook_ids text[]        same length
--          $3 reported text[]           same length
--          $4 statuses text[]           same length
-- Locks:   deployments rows FOR KEY SHARE, by the foreign key, as held already
-- Rows:    none
-- Index:   none, rows are only added
INSERT INTO webhook_messages (deployment_id, webhook_id, reported, status)
SELECT
    message.deployment_id,
    message.webhook_id,
    message.reported,
    message.status
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
    AS message (deployment_id, webhook_id, reported, status)
