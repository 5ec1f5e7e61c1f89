-- Which trace an event belongs to, and the settlement of an order.
-- transactional: false
-- depends: 0065_kept_names

-- One table at a time, each in a transaction of its own: requests lock several of them, and would
-- wait for this one as it waits for them. No CHECK: only the services write the column, and it
-- would be looked at for each row.
ALTER TABLE orders ADD COLUMN IF NOT EXISTS traceparent text;
ALTER TABLE outbox_dead_letters ADD COLUMN IF NOT EXISTS traceparent text;
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS traceparent text;

COMMENT ON COLUMN orders.traceparent IS
'The request that ordered, as a W3C traceparent, for the log lines and events of the settlement; '
'null if that request named no trace.';
COMMENT ON COLUMN outbox_dead_letters.traceparent IS 'As in the outbox.';
COMMENT ON COLUMN outbox.traceparent IS
'The request that caused it, as a W3C traceparent: 00, the trace, Rowlock''s span of the request, '
'the flags; null if that request named no trace, or no request caused the event.';
