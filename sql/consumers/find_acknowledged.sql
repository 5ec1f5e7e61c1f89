-- consumers/find_acknowledged: tell which of these ids are of events, and what is around those that
--     are not
-- Params:  $1 ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, last_id bigint, next_id bigint?; one per id: the last event up to it, which
--          is its own if it is in the log, 0 if there is none; and the first one after it
-- Index:   events_pkey
SELECT
    given.id,
    coalesce((
        SELECT max(events.id) FROM events
        WHERE events.id <= given.id
    ), 0) AS last_id,
    (
        SELECT min(events.id) FROM events
        WHERE events.id > given.id
    ) AS next_id
FROM unnest($1::bigint[]) AS given (id)
