-- drill_events/list_request_ids: audit after a drill: the requests that have caused events
-- Params:  none
-- Locks:   none
-- Rows:    request_id text; one per request
-- Index:   none, every row is read
SELECT DISTINCT request_id
FROM events
WHERE request_id IS NOT NULL
