-- subscriptions/read_log: read on in the log, and give the events whose names match
-- Params:  $1 after bigint       only events with a higher id
--          $2 page_size bigint   how many events to look at, at most
--          $3 patterns text[]    of names, for LIKE
-- Locks:   none
-- Rows:    version bigint?, last_id bigint?, looked_at bigint, id bigint?, name text?,
--          subject text?, payload jsonb?, traceparent text?, created_at timestamptz?; one per event
--          that matches, oldest first; one without an event if none does; last_id is that of the
--          page, null if it is empty; version is that of the subscriptions
-- Index:   events_pkey, dispatch_cursor_pkey
WITH page AS MATERIALIZED (
    SELECT
        id,
        name,
        subject,
        payload,
        traceparent,
        created_at
    FROM events
    WHERE id > $1
    ORDER BY id
    LIMIT $2
),

whole AS (
    SELECT
        max(id) AS last_id,
        count(*) AS looked_at
    FROM page
),

-- Few, while there may be a thousand patterns: so each event is only looked up.
names AS MATERIALIZED (
    SELECT DISTINCT name
    FROM page
)

SELECT
    (
        SELECT cursor.version
        FROM dispatch_cursor AS cursor
        WHERE cursor.only_one
    ) AS version,
    whole.last_id,
    whole.looked_at,
    page.id,
    page.name,
    page.subject,
    page.payload,
    page.traceparent,
    page.created_at
FROM whole
LEFT JOIN page
    ON page.name IN (
        SELECT names.name
        FROM names
        WHERE names.name LIKE any($3::text[])
    )
ORDER BY page.id
