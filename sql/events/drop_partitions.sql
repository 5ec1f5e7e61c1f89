-- events/drop_partitions: drop the partitions of the months before the retention
-- Params:  $1 before date   the first day that is kept
-- Locks:   events, events_default and the partition ACCESS EXCLUSIVE, where one is dropped
-- Rows:    partition text, events bigint?; one per partition dropped, with about how many events it
--          had; null if it was never analyzed
-- Index:   none, the function reads the catalogue
WITH dropped AS (
    SELECT partition
    FROM drop_events_partitions($1) AS partition
)

SELECT
    dropped.partition,
    nullif(child.reltuples, -1)::bigint AS events
FROM dropped
-- As this statement began, they were there.
LEFT JOIN pg_class AS child
    ON dropped.partition = child.relname AND child.relnamespace = 'public'::regnamespace
