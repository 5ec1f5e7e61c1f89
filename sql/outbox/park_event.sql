-- outbox/park_event: keep an event that the events service refused, if the relay still leads
-- Params:  $1 epoch bigint     of the relay's lease
--          $2 xid xid8         of the event in the log
--          $3 position bigint
--          $4 status integer   HTTP
--          $5 error text       what the service answered
-- Locks:   the lease's row FOR SHARE, so that no process takes it meanwhile
-- Rows:    leads boolean; one
-- Index:   leases_pkey, outbox_pkey
WITH lease AS (
    SELECT epoch
    FROM leases
    WHERE name = 'relay' AND epoch = $1
    FOR SHARE
),

parked AS (
    INSERT INTO outbox_dead_letters (
        event_id, name, subject, payload, request_id, created_at, status, error
    )
    SELECT
        outbox.event_id,
        outbox.name,
        outbox.subject,
        outbox.payload,
        outbox.request_id,
        outbox.created_at,
        $4 AS status,
        $5 AS error
    FROM outbox
    CROSS JOIN lease
    WHERE outbox.xid = $2 AND outbox.position = $3
    ON CONFLICT (event_id) DO UPDATE
        SET
            status = excluded.status,
            error = excluded.error,
            refused_at = excluded.refused_at
)

SELECT exists(SELECT 1 FROM lease) AS leads
