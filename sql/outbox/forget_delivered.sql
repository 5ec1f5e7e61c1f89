-- outbox/forget_delivered: after a logical restore, remove what was delivered before it
-- Params:  none
-- Locks:   the rows removed; runs before outbox/rebase in one transaction
-- Rows:    none
-- Index:   none, every row is read
DELETE FROM outbox
USING outbox_cursor AS last
WHERE
    (outbox.xid, outbox.position) <= (last.xid, last.position)
    AND outbox.position <= last.last_position
