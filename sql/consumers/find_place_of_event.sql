-- consumers/find_place_of_event: tell after which event to go on, to begin with the one of an id
-- Params:  $1 first_id bigint
-- Locks:   none
-- Rows:    position bigint, newest bigint; one, 0 if there are none
-- Index:   events_pkey
SELECT
    coalesce((
        SELECT max(id) FROM events
        WHERE id < $1
    ), 0) AS position,
    coalesce((SELECT max(id) FROM events), 0) AS newest
