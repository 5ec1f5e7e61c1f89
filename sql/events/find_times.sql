-- events/find_times: tell what time it is, by the database's clock and by the events stored last
-- Params:  none
-- Locks:   none
-- Rows:    now timestamptz, newest timestamptz?; one, newest is null if there are no events
-- Index:   events_pkey
SELECT
    now() AS now,
    max(latest.created_at) AS newest
FROM (
    SELECT created_at
    FROM events
    ORDER BY id DESC
    -- Several: the last one may be a late one.
    LIMIT 100
) AS latest
