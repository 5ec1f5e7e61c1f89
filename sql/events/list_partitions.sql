-- events/list_partitions: list the partitions that have a month, with their bounds
-- Params:  none
-- Locks:   none
-- Rows:    partition text, bounds text; one per partition, by name; times are as the session's
--          TimeZone and DateStyle say
-- Index:   none, the catalogue is read
SELECT
    child.relname::text AS partition,
    pg_get_expr(child.relpartbound, child.oid) AS bounds
FROM pg_inherits
INNER JOIN pg_class AS child ON pg_inherits.inhrelid = child.oid
WHERE
    pg_inherits.inhparent = 'events'::regclass
    AND child.relname ~ '^events_[0-9]{4}_[0-9]{2}$'
ORDER BY child.relname
