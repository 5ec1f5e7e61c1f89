-- consumers/lock_consumers: lock consumers, to move or delete them
-- Params:  $1 names text[]   unique
-- Locks:   the consumers, FOR NO KEY UPDATE, in the order of id
-- Rows:    id bigint, name text, position bigint, created_at timestamptz, created_by text,
--          acknowledged_at timestamptz?; one per consumer found
-- Index:   consumers_name_key
SELECT
    id,
    name,
    position,
    created_at,
    created_by,
    acknowledged_at
FROM consumers
WHERE name = any($1::text[])
ORDER BY id
FOR NO KEY UPDATE
