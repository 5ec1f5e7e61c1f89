-- Purpose: remove events older than the retention that never had a partition
-- Params:  $1 months integer   to keep, besides this one
-- Locks:   the rows removed
-- Rows:    none
-- Index:   none, the default partition holds strays only
DELETE FROM events_default
WHERE
    created_at
    < date_trunc('month', (now() AT TIME ZONE 'UTC') - make_interval(months => $1))
    AT TIME ZONE 'UTC'
