-- Purpose: make the partitions of this month and the next ones, unless they are there
-- Params:  $1 months_ahead integer
-- Locks:   events SHARE UPDATE EXCLUSIVE and events_default ACCESS EXCLUSIVE, where one is made
-- Rows:    made boolean; one per month
-- Index:   none, the function reads the catalogue
SELECT
    ensure_events_partition(
        ((now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date
    ) AS made
FROM generate_series(0, $1::integer) AS ahead
