-- Purpose: tell which index of a partitioned table each index of a partition is part of
-- Params:  none
-- Locks:   none
-- Rows:    name text, parent text; one per index of a partition
-- Index:   none, the catalogue is read
SELECT
    child.relname::text AS name,
    parent.relname::text AS parent
FROM pg_inherits
INNER JOIN pg_class AS child ON pg_inherits.inhrelid = child.oid
INNER JOIN pg_class AS parent ON pg_inherits.inhparent = parent.oid
WHERE child.relkind = 'i'
