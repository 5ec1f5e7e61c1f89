-- projects/find_webhook_secrets: read the secrets that prove webhooks about these deployments
-- Params:  $1 deployment_ids bigint[]   unique
-- Locks:   none
-- Rows:    deployment_id bigint, project_id bigint, app_secret text, previous_secret text?; one per
--          deployment found
-- Index:   deployments_pkey, projects_pkey
SELECT
    deployments.id AS deployment_id,
    deployments.project_id,
    projects.app_secret,
    CASE
        WHEN projects.previous_secret_until > now() THEN projects.previous_secret
    END AS previous_secret
FROM deployments
INNER JOIN projects ON deployments.project_id = projects.id
WHERE deployments.id = any($1::bigint[])
