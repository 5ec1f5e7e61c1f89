DROP TABLE outbox_rewinds;
DROP FUNCTION count_skipped_positions(bigint, bigint);
DROP TABLE outbox_marks;
COMMENT ON TABLE outbox IS
'The log of events, each written by the transaction that caused it. Never updated; deleted in the '
'background once delivered.';
COMMENT ON TABLE outbox_cursor IS
'One row: everything in the outbox up to (xid, position) is delivered. Written by the leading '
'relay after each delivery.';
ALTER TABLE outbox_cursor
DROP COLUMN resend_position,
DROP COLUMN resend_xid,
DROP COLUMN mark_position,
DROP COLUMN mark_xid,
DROP COLUMN log;
