-- outbox/measure_resend: tell how much is still to be delivered up to a place in the log
-- Params:  $1 xid xid8
--          $2 position bigint
-- Locks:   none
-- Rows:    asked boolean, remaining bigint; one, asked if the relay has not gone back yet
-- Index:   outbox_pkey
SELECT
    last.resend_xid IS NOT NULL AS asked,
    (
        SELECT count(*)
        FROM outbox
        WHERE
            (outbox.xid, outbox.position) > (last.xid, last.position)
            AND (outbox.xid, outbox.position) <= ($1, $2)
    ) AS remaining
FROM outbox_cursor AS last
