-- events/drop_partitions: drop the partitions of the months before the retention
-- Params:  $1 months integer   to keep, besides this one
-- Locks:   events, events_default and the partition ACCESS EXCLUSIVE, where one is dropped
-- Rows:    partition text; one per partition dropped
-- Index:   none, the function reads the catalogue
SELECT partition
FROM
    drop_events_partitions(
        ((now() AT TIME ZONE 'UTC') - make_interval(months => $1))::date
    ) AS partition
