-- consumers/find_oldest: tell where the log begins, and whether it has an event
-- Params:  $1 position bigint
-- Locks:   none
-- Rows:    oldest bigint?, is_kept boolean; one, oldest is null if there are no events
-- Index:   events_pkey
SELECT
    (SELECT min(id) FROM events) AS oldest,
    exists(
        SELECT 1 FROM events
        WHERE id = $1
    ) AS is_kept
