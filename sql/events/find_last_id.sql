-- events/find_last_id: tell where the log ends
-- Params:  none
-- Locks:   none
-- Rows:    id bigint; one, 0 if there are no events
-- Index:   events_pkey
SELECT coalesce(max(id), 0) AS id
FROM events
