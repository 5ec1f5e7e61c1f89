-- drill/list_services: audit after a drill: every service
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, is_retired boolean; one per service
-- Index:   none, every row is read
SELECT
    id,
    retired_at IS NOT NULL AS is_retired
FROM services
