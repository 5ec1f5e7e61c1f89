-- consumers/create_consumers: create consumers
-- Params:  $1 names text[]        unique, none of them taken
--          $2 positions bigint[]  same length, the last event that each is done with
--          $3 actors text[]       same length, who creates them
-- Locks:   none new; the caller holds events/lock_log, so that no other transaction creates one
-- Rows:    id bigint, name text, created_at timestamptz; one per consumer
-- Index:   none, it only adds
INSERT INTO consumers (name, position, created_by)
SELECT
    given.name,
    given.place,
    given.actor
FROM unnest($1::text[], $2::bigint[], $3::text[]) AS given (name, place, actor)
ORDER BY given.name
RETURNING id, name, created_at
