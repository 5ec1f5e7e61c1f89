-- drill_events/count_events: audit after a drill: how often each thing was said to have happened
-- Params:  none
-- Locks:   none
-- Rows:    name text, subject text?, deployment_id text?, events bigint; one per name, subject and
--          deployment, which is null where there is none
-- Index:   none, every row is read
SELECT
    name,
    subject,
    payload ->> 'deployment_id' AS deployment_id,
    count(*) AS events
FROM events
GROUP BY name, subject, payload ->> 'deployment_id'
