-- consumers/move_consumers: move consumers to other places in the log
-- Params:  $1 consumer_ids bigint[]       unique
--          $2 positions bigint[]          same length, the last event that each is done with
--          $3 acknowledged boolean        whether acknowledgements move them; else resets do
-- Locks:   none new; the caller holds consumers/lock_consumers
-- Rows:    id bigint, acknowledged_at timestamptz?; one per consumer
-- Index:   consumers_pkey
UPDATE consumers
SET
    position = moved.place,
    acknowledged_at
    = CASE WHEN $3 THEN statement_timestamp() ELSE consumers.acknowledged_at END
FROM unnest($1::bigint[], $2::bigint[]) AS moved (consumer_id, place)
WHERE consumers.id = moved.consumer_id
RETURNING consumers.id, consumers.acknowledged_at
