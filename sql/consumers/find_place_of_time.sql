-- consumers/find_place_of_time: tell after which event to go on, to miss none from a time on
-- Params:  $1 since timestamptz
-- Locks:   none
-- Rows:    position bigint; one, 0 if there are none before
-- Index:   events_pkey
SELECT
    coalesce(
        (
            -- Of the month of the time, the index is read from its start on.
            SELECT max(events.id)
            FROM events
            WHERE
                events.id < coalesce(
                    (
                        SELECT later.id
                        FROM events AS later
                        WHERE later.created_at >= $1
                        ORDER BY later.id
                        LIMIT 1
                    ),
                    9223372036854775807
                )
        ),
        0
    ) AS position
