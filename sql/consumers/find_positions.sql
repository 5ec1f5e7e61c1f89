-- consumers/find_positions: tell where consumers are in the log
-- Params:  $1 names text[]   unique
-- Locks:   none
-- Rows:    name text, position bigint; one per consumer found
-- Index:   consumers_name_key
SELECT
    name,
    position
FROM consumers
WHERE name = any($1::text[])
