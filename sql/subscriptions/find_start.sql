-- subscriptions/find_start: find the first event in the log that is not older than a time
-- Params:  $1 since timestamptz
-- Locks:   none
-- Rows:    id bigint?; one, null if there is none
-- Index:   events_pkey
SELECT min(first.id) AS id
FROM (
    -- Of the month of the time, the index is read from its start on; months before are left out.
    SELECT events.id
    FROM events
    WHERE events.created_at >= $1
    ORDER BY events.id
    LIMIT 1
) AS first
