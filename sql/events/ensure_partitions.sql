-- Purpose: make the partitions of this month and the next ones, unless they are there
-- Params:  $1 months_ahead integer
-- Locks:   events_default, for a moment, where a partition is made
-- Rows:    made boolean; one per month
-- Index:   none, the function reads the catalogue
SELECT
    ensure_events_partition(
        ((now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date
    ) AS made
FROM generate_series(0, $1::integer) AS ahead
