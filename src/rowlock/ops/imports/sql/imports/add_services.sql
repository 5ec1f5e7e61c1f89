-- imports/add_services: add a page of the staged services, with their events
-- Params:  $1 after bigint   ordinal
--          $2 upto bigint    ordinal
--          $3 actor text
-- Locks:   the new rows
-- Rows:    added bigint; one
-- Index:   none, the page is from a table of this session's
WITH page AS (
    SELECT *
    FROM import_services
    WHERE ordinal > $1 AND ordinal <= $2
    ORDER BY ordinal
),

added AS (
    INSERT INTO services (id, name)
    SELECT
        coalesce(id, nextval('services_id_seq')) AS id,
        name
    FROM page
    RETURNING id, name
),

told AS (
    INSERT INTO outbox (name, subject, payload, actor, created_at)
    SELECT
        'service.created' AS name,
        'service:' || id AS subject,
        jsonb_build_object('service_id', id, 'name', name) AS payload,
        $3 AS actor,
        statement_timestamp() AS created_at
    FROM added
)

SELECT count(*) AS added
FROM added
