-- outbox/park_event: keep an event that the events service refused, if the relay still leads
-- Params:  $1 lease text       the relay's
--          $2 epoch bigint     of that lease
--          $3 xid xid8         of the event in the log
--          $4 position bigint
--          $5 status integer   HTTP
--          $6 error text       what the service answered
-- Locks:   the lease's row FOR SHARE, so that no process takes or renews it meanwhile; the new
--          row of outbox_dead_letters
-- Rows:    leads boolean, parked boolean; one, not parked if the log no longer has the event
-- Index:   leases_pkey, outbox_pkey
WITH lease AS (
    SELECT epoch
    FROM leases
    WHERE name = $1 AND epoch = $2
    FOR SHARE
),

parked AS (
    INSERT INTO outbox_dead_letters (
        event_id, name, subject, payload, request_id, actor, traceparent, created_at, status, error
    )
    SELECT
        outbox.event_id,
        outbox.name,
        outbox.subject,
        outbox.payload,
        outbox.request_id,
        outbox.actor,
        outbox.traceparent,
        outbox.created_at,
        $5 AS status,
        $6 AS error
    FROM outbox
    CROSS JOIN lease
    WHERE outbox.xid = $3 AND outbox.position = $4
    -- A replayed event may be refused again: the latest refusal counts.
    ON CONFLICT (event_id) DO UPDATE
        SET
            status = excluded.status,
            error = excluded.error,
            refused_at = excluded.refused_at
    RETURNING event_id
)

SELECT
    exists(SELECT 1 FROM lease) AS leads,
    exists(SELECT 1 FROM parked) AS parked
