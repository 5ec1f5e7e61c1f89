-- consumers/find_consumers: read consumers by their names, and how far behind they are
-- Params:  $1 names text[]   unique
-- Locks:   none
-- Rows:    id bigint, name text, position bigint, created_at timestamptz, created_by text,
--          acknowledged_at timestamptz?, lag_events bigint, lag_s float8; one per consumer found,
--          with about how many events are left to it, and the age in seconds of the oldest
-- Index:   consumers_name_key, events_pkey
WITH log AS (
    SELECT
        coalesce((SELECT max(id) FROM events), 0) AS newest,
        coalesce((SELECT min(id) FROM events), 1) AS oldest
),

cuts AS (
    SELECT
        (ids #>> '{events,last}')::bigint AS last_id,
        (ids #>> '{events,first}')::bigint AS first_id
    FROM cluster_epochs
)

SELECT
    consumers.id,
    consumers.name,
    consumers.position,
    consumers.created_at,
    consumers.created_by,
    consumers.acknowledged_at,
    -- By ids, which have few gaps. Those that the cluster's epochs have cut are large.
    greatest(
        log.newest - greatest(consumers.position, log.oldest - 1) - coalesce(
            (
                SELECT sum(cuts.first_id - greatest(cuts.last_id, consumers.position) - 1)
                FROM cuts
                WHERE
                    cuts.first_id > greatest(consumers.position, log.oldest) + 1
                    AND cuts.first_id <= log.newest
            ),
            0
        ),
        0
    )::bigint AS lag_events,
    coalesce(
        greatest(
            extract(
                EPOCH FROM statement_timestamp() - (
                    SELECT later.created_at
                    FROM events AS later
                    WHERE later.id > consumers.position
                    ORDER BY later.id
                    LIMIT 1
                )
            ),
            0
        ),
        0
    )::float8 AS lag_s
FROM consumers
CROSS JOIN log
WHERE consumers.name = any($1::text[])
